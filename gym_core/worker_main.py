"""The inside of a worker process: answer one call after another until the parent goes away.

    message = u32 length (little-endian) | pickle
    parent → worker   (spec, memory limit in MiB, method, args); method None: only load and warm the class of the spec
    worker → parent   ("ready", pid), then for each message ("ok", value) | ("refused", ErrorInfo)
                      | ("tool_fault", text) | ("raised", exception name, text, place, traceback)

One object of each class lives here from its first message on.

Both ends run the author's code with the same trust, so pickle is no wider than the import itself; code of a candidate
never runs here, that is the sandbox's work. Started by `gym_core.crew`, not by hand.
"""

from __future__ import annotations

import asyncio
import ctypes
import inspect
import os
import pickle
import resource
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gym_core.environment import Environment
from gym_core.errors import PalaestraError
from gym_core.host import Host, run_now
from gym_core.loading import load_class
from gym_core.tools import ToolFault

LENGTH = struct.Struct("<I")
_PR_SET_PDEATHSIG = 1


def main(descriptor: int, parent_pid: int) -> None:
    """Serve calls over this socket until it closes."""
    die_with(parent_pid)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    channel = socket.socket(fileno=descriptor)
    try:
        serve(channel)
    except ConnectionError:  # the parent is gone or has lost interest: nobody is left to tell
        return


def serve(channel: socket.socket) -> None:
    """Say that the process is there, then answer calls."""
    send(channel, ("ready", os.getpid()))
    targets: dict[str, Target] = {}
    with asyncio.Runner() as runner:
        while (message := receive(channel)) is not None:
            send(channel, answer(targets, runner, message))


class Target:
    """The object that is called; an `Environment` together with its `Host`, whose methods come first."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.host = Host(inner) if isinstance(inner, Environment) else None

    def warm(self) -> None:
        """Let the class import what is heavy before the first job, where it has a `warm` method."""
        if hasattr(self.inner, "warm"):
            self.inner.warm()

    def method(self, name: str) -> Callable[..., Any]:
        found: Callable[..., Any] = getattr(self.host, name, None) or getattr(self.inner, name)
        return found

    @property
    def needs_loop(self) -> bool:
        return self.host is None or self.host.needs_loop


def answer(targets: dict[str, Target], runner: asyncio.Runner, message: bytes) -> tuple[Any, ...]:
    """One call: its result, or its exception as data. A class that fails to load or warm is not kept."""
    try:
        spec, memory_limit_mb, method, args = pickle.loads(message)
        limit_memory(memory_limit_mb)
        target = targets.get(spec)
        if target is None:
            target = Target(load_class(spec)())
            target.warm()
            targets[spec] = target
        if method is None:
            return ("ok", None)
        value = target.method(method)(*args)
        if inspect.iscoroutine(value):
            value = runner.run(value) if target.needs_loop else run_now(value)
        return ("ok", value)
    except Exception as error:
        return describe(error)


def describe(error: Exception) -> tuple[Any, ...]:
    """An exception in a form that any parent can read."""
    if isinstance(error, PalaestraError):
        return ("refused", error.info())
    if isinstance(error, ToolFault):
        return ("tool_fault", str(error))
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return ("raised", type(error).__name__, str(error), place, "".join(traceback.format_exception(error)))


def send(channel: socket.socket, message: tuple[Any, ...]) -> None:
    """One message; a result that cannot be pickled is sent as the exception it causes."""
    try:
        data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        data = pickle.dumps(describe(error), pickle.HIGHEST_PROTOCOL)
    channel.sendall(LENGTH.pack(len(data)) + data)


def receive(channel: socket.socket) -> bytes | None:
    """One message, or None when the parent has closed."""
    head = _exactly(channel, LENGTH.size)
    return None if head is None else _exactly(channel, LENGTH.unpack(head)[0])


def _exactly(channel: socket.socket, count: int) -> bytes | None:
    data = bytearray()
    while len(data) < count:
        chunk = channel.recv(min(count - len(data), 1 << 20))
        if not chunk:
            return None
        data += chunk
    return bytes(data)


def limit_memory(limit_mb: int) -> None:
    """Allocations beyond the limit raise MemoryError here instead of pressing the machine; 0 is no limit.

    The soft limit only: the next job may be of an environment that is allowed more.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = limit_mb << 20 if limit_mb > 0 else hard
    resource.setrlimit(resource.RLIMIT_AS, (wanted if hard < 0 else min(wanted, hard), hard))


def die_with(parent_pid: int) -> None:
    """Ask the kernel for SIGKILL when the parent dies, also in the middle of a job."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:  # it died before the request was heard
        os._exit(1)
