"""The inside of a worker process: answer one call after another until the parent goes away.

    message = u32 length (little-endian) | pickle
    parent → worker   (spec, memory limit in MiB, method, args); method None: only load and warm the class of the spec
    worker → parent   ("ready", pid), then for each message ("ok", value) | ("refused", ErrorInfo)
                      | ("tool_fault", text) | ("raised", exception name, text, place, traceback)
    parent → nursery  as to a worker, or a message with a descriptor: fork a copy that serves the socket it came with
    parent → nursery  ("", …, None, modules): only import them
    nursery → parent  ("ok", Loaded), after a fork ("ok", pid)

One object of each class lives here from its first message on. A nursery (`gym_core.nursery`) loads and is copied, it
does no job: the first job ends that for ever.

Both ends run the author's code with the same trust, so pickle is no wider than the import itself; code of a candidate
never runs here, that is the sandbox's work. Started by `gym_core.crew`, not by hand.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import importlib
import inspect
import os
import pickle
import resource
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from gym_core.environment import Environment
from gym_core.errors import PalaestraError
from gym_core.host import Host, run_now
from gym_core.loading import load_class
from gym_core.shareable import Outside
from gym_core.sibling import fork_sibling
from gym_core.tools import ToolFault

LENGTH = struct.Struct("<I")
_PR_SET_PDEATHSIG = 1
_CLOSE_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


def main(descriptor: int, parent_pid: int, nursery: bool = False) -> None:
    """Serve calls over this socket until it closes."""
    die_with(parent_pid)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    inside = Inside(parent_pid, Outside() if nursery else None)
    # the parent is gone or has lost interest: nobody is left to tell
    with contextlib.suppress(ConnectionError), contextlib.closing(inside.runner):
        inside.serve(socket.socket(fileno=descriptor))
    if inside.copied:
        os._exit(0)  # what was registered for the end of the process is not a copy's to do


class Loaded(NamedTuple):
    """What loading did in a nursery: why it may not be copied now, "" where it may; the modules that came with it."""

    obstacle: str
    modules: tuple[str, ...]


class Inside:
    """What a worker process holds: the objects it has made, a loop for those that want one.

    `outside` watches what loading does; it is None in a process that cannot be copied, or no longer.
    """

    def __init__(self, parent_pid: int, outside: Outside | None = None) -> None:
        self.runner = asyncio.Runner()
        self.copied = False
        self._parent_pid = parent_pid
        self._outside = outside
        self._targets: dict[str, Target] = {}
        self._channel: socket.socket

    def serve(self, channel: socket.socket) -> None:
        """Say that the process is there, then answer calls; as a copy goes on, it does so over its own socket."""
        self._channel = channel
        send(channel, ("ready", os.getpid()))
        while (received := receive(self._channel)) is not None:
            message, descriptor = received
            if descriptor is None:
                send(self._channel, self._answer(message))
            else:
                self._fork(descriptor)

    def _answer(self, message: bytes) -> tuple[Any, ...]:
        """One call: its result, or its exception as data. A class that fails to load or warm is not kept."""
        try:
            spec, memory_limit_mb, method, args = pickle.loads(message)
            limit_memory(memory_limit_mb)
            if not spec:
                return ("ok", self._loaded(lambda: import_what_is_there(args)))
            if method is None:
                return ("ok", self._loaded(lambda: self._load(spec)))
            target = self._load(spec)
            self._work()
            value = target.method(method)(*args)
            if inspect.iscoroutine(value):
                value = self.runner.run(value) if target.needs_loop else run_now(value)
            return ("ok", value)
        except Exception as error:
            return describe(error)

    def _load(self, spec: str) -> Target:
        target = self._targets.get(spec)
        if target is None:
            target = Target(load_class(spec)())
            target.warm()
            self._targets[spec] = target
        return target

    def _loaded(self, load: Callable[[], object]) -> Loaded | None:
        """Load, and see what that has done; None where nobody will copy this process."""
        before = set(sys.modules)
        load()
        if self._outside is None:
            return None
        return Loaded(self._outside.obstacle({self._channel.fileno()}), tuple(sys.modules.keys() - before))

    def _work(self) -> None:
        """From now on this process knows what jobs have told it, and is not copied any more."""
        if self._outside is not None:
            self._outside.stop()
            self._outside = None

    def _fork(self, descriptor: int) -> None:
        """Copy this process; the copy serves `descriptor`. What is garbage is not copied, the rest is left untouched by
        the copy's collector, so that most pages stay common."""
        gc.collect()
        gc.freeze()
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            if self._outside is None:
                raise RuntimeError("a process that has done jobs is not copied")
            pid = fork_sibling()
        except (OSError, RuntimeError) as error:
            os.close(descriptor)
            send(self._channel, describe(error))
            return
        if pid:
            os.close(descriptor)
            send(self._channel, ("ok", pid))
            return
        self.copied = True
        self._channel.close()
        self._channel = socket.socket(fileno=descriptor)
        os.setsid()
        die_with(self._parent_pid)
        reseed()
        send(self._channel, ("ready", os.getpid()))


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


def receive(channel: socket.socket) -> tuple[bytes, int | None] | None:
    """One message and the descriptor that came with it, or None when the parent has closed."""
    head, descriptors, _, _ = socket.recv_fds(channel, LENGTH.size, 1, _CLOSE_ON_EXEC)
    rest = _exactly(channel, LENGTH.size - len(head)) if head else None
    data = None if rest is None else _exactly(channel, LENGTH.unpack(head + rest)[0])
    return None if data is None else (data, descriptors[0] if descriptors else None)


def _exactly(channel: socket.socket, count: int) -> bytes | None:
    data = bytearray()
    while len(data) < count:
        chunk = channel.recv(min(count - len(data), 1 << 20))
        if not chunk:
            return None
        data += chunk
    return bytes(data)


def import_what_is_there(modules: Iterable[str]) -> None:
    """Import by name; those that were made otherwise, from a file or by another module, are left out."""
    for name in modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def reseed() -> None:
    """Copies draw numbers of their own; Python's own generator does so by itself."""
    if numpy_random := sys.modules.get("numpy.random"):
        numpy_random.seed()


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
