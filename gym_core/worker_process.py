"""One worker process as its parent sees it: a fresh interpreter or a copy of one, asked over a socket, killed with its
group."""

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
from typing import Any, Protocol

from gym_core.auth import without_secrets
from gym_core.worker_main import LENGTH

_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    " from gym_core.worker_main import main; main(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == 'nursery')"
)
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
DIED = ("died",)
Said = tuple[Any, ...]

STARTUP_TIMEOUT_S = 60.0
"""For a process to come up, and for each class to load and warm."""


class Process(Protocol):
    """A child of this process, started or copied: what `subprocess.Popen` offers of it."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def kill(self) -> None: ...


class Copied:
    """A child that another child made (`gym_core.sibling`)."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._status: int | None = None

    def poll(self) -> int | None:
        """As `subprocess.Popen.poll`: the exit status, minus the signal, None while it runs."""
        return self._look(os.WNOHANG)

    def wait(self, timeout: float | None = None) -> int:
        """Until it has ended. It is waited for after it was killed only, so no limit is kept."""
        status = self._look(0)
        assert status is not None
        return status

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def _look(self, how: int) -> int | None:
        if self._status is None:
            try:
                pid, status = os.waitpid(self.pid, how)
            except ChildProcessError:  # somebody else has waited for it
                self._status = 0
            else:
                self._status = os.waitstatus_to_exitcode(status) if pid else None
        return self._status


class Worker(asyncio.Protocol):
    """A process and the socket to it; one message is awaited at a time."""

    def __init__(self, process: Process, on_lost: Callable[[Worker], None], channel: socket.socket) -> None:
        self.process = process
        self.jobs = 0
        self.loaded: set[str] = set()
        """Specs of the classes that it holds."""
        self.mother: Worker | None = None
        """What it is a copy of."""
        self.dead = asyncio.Event()
        self._on_lost = on_lost
        self._channel = channel
        self._buffer = bytearray()
        self._reply: asyncio.Future[Said] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def launch(cls, on_lost: Callable[[Worker], None], *, nursery: bool = False) -> Worker:
        """Start a process; it is ready once `hello` says so. A `nursery` can be copied."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        paths = json.dumps([os.path.abspath(path) for path in sys.path])
        arguments = [paths, str(theirs.fileno()), str(os.getpid()), "nursery" if nursery else "worker"]
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
        return await cls._connect(process, on_lost, ours)

    async def copy(self, on_lost: Callable[[Worker], None]) -> Worker | Said:
        """A copy of this process, ready once `hello` says so; what the process said instead where there is none.

        Not to be cancelled: a copy that nobody knows of would stay behind.
        """
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        said = await self._ask_with(theirs.fileno())
        theirs.close()
        if said[0] != "ok":
            ours.close()
            return said
        copied = await self._connect(Copied(said[1]), on_lost, ours)
        copied.mother, copied.loaded = self, set(self.loaded)
        return copied

    @classmethod
    async def _connect(cls, process: Process, on_lost: Callable[[Worker], None], ours: socket.socket) -> Worker:
        loop = asyncio.get_running_loop()
        try:
            _, worker = await loop.create_unix_connection(lambda: cls(process, on_lost, ours), sock=ours)
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

    async def hello(self) -> Said:
        """The first message: ("ready", pid)."""
        return await self._reply

    async def ask(self, data: bytes) -> Said:
        """Send a message and wait for its answer; `DIED` when the process ended instead."""
        if self.dead.is_set() or self._transport is None:
            return DIED
        self._reply = asyncio.get_running_loop().create_future()
        self._transport.write(LENGTH.pack(len(data)) + data)
        return await self._reply

    async def answer(self, data: bytes, timeout_s: float) -> Said:
        """What it says to a message; `("overran", limit)` or `("died", how)` where it says nothing."""
        try:
            async with asyncio.timeout(timeout_s):
                said = await self.ask(data)
        except TimeoutError:
            return ("overran", timeout_s)
        return ("died", self.ending()) if said is DIED else said

    async def _ask_with(self, descriptor: int) -> Said:
        """As `ask`, with a descriptor and no words. Nothing else is on its way, so the socket takes it at once."""
        if self.dead.is_set():
            return DIED
        self._reply = asyncio.get_running_loop().create_future()
        try:
            socket.send_fds(self._channel, [LENGTH.pack(0)], [descriptor])
        except OSError:  # its end is closed
            return DIED
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


def _open(message: bytes) -> Said:
    try:
        opened: Said = pickle.loads(message)
    except Exception as error:  # an answer of a type that only the worker knows
        return ("raised", type(error).__name__, f"the answer cannot be read here: {error}", "", "")
    return opened
