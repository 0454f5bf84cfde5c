"""One worker process as its parent sees it: a fresh interpreter, asked over a socket, killed with its group."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from gym_core.auth import without_secrets
from gym_core.worker_main import LENGTH

_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    " from gym_core.worker_main import main; main(int(sys.argv[2]), int(sys.argv[3]))"
)
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
DIED = ("died",)


class Worker(asyncio.Protocol):
    """A process and the socket to it; one message is awaited at a time."""

    def __init__(self, process: subprocess.Popen[bytes], on_lost: Callable[[Worker], None]) -> None:
        self.process = process
        self.jobs = 0
        self.loaded: set[str] = set()
        """Specs of the classes that it holds."""
        self.dead = asyncio.Event()
        self._on_lost = on_lost
        self._buffer = bytearray()
        self._reply: asyncio.Future[tuple[Any, ...]] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def launch(cls, on_lost: Callable[[Worker], None]) -> Worker:
        """Start a process; it is ready once `hello` says so."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        paths = json.dumps([os.path.abspath(path) for path in sys.path])
        arguments = [paths, str(theirs.fileno()), str(os.getpid())]
        try:
            process = subprocess.Popen(
                [sys.executable, "-c", _BOOT, *arguments],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=2,  # what an author prints must not mix with what the service announces on stdout
                start_new_session=True,
                env={**without_secrets(os.environ), **dict.fromkeys(_ONE_THREAD, "1")},
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        loop = asyncio.get_running_loop()
        try:
            _, worker = await loop.create_unix_connection(lambda: cls(process, on_lost), sock=ours)
        except BaseException:  # the pool is being closed
            ours.close()
            process.kill()
            process.wait()
            raise
        return worker

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) < LENGTH.size:
            return
        end = LENGTH.size + LENGTH.unpack_from(self._buffer)[0]
        if len(self._buffer) < end:
            return
        message = bytes(memoryview(self._buffer)[LENGTH.size : end])
        del self._buffer[:end]
        if not self._reply.done():
            self._reply.set_result(_open(message))

    def connection_lost(self, error: Exception | None) -> None:
        self.dead.set()
        if not self._reply.done():
            self._reply.set_result(DIED)
        self._on_lost(self)

    async def hello(self) -> tuple[Any, ...]:
        """The first message: ("ready", pid)."""
        return await self._reply

    async def ask(self, data: bytes) -> tuple[Any, ...]:
        """Send a message and wait for its answer; `DIED` when the process ended instead."""
        if self.dead.is_set() or self._transport is None:
            return DIED
        self._reply = asyncio.get_running_loop().create_future()
        self._transport.write(LENGTH.pack(len(data)) + data)
        return await self._reply

    def kill(self) -> None:
        """End the process and what it started, whatever they are doing. Twice is no harm."""
        if self._transport is not None:
            self._transport.abort()
        if self.process.poll() is None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:  # not yet the leader of its group
                self.process.kill()

    def ending(self) -> str:
        """How the process ended, in words."""
        code = self.process.poll()
        if code is None:
            return "its connection broke"
        return f"it was ended by {signal.Signals(-code).name}" if code < 0 else f"it exited with status {code}"


def _open(message: bytes) -> tuple[Any, ...]:
    try:
        opened: tuple[Any, ...] = pickle.loads(message)
    except Exception as error:  # an answer of a type that only the worker knows
        return ("raised", type(error).__name__, f"the answer cannot be read here: {error}", "", "")
    return opened
