"""`palaestra env serve --processes N`: starts the processes of one port, starts anew what dies, ends all together.

The port is taken here and never listened on, so it stays ours while processes come and go; each process binds it beside
this one (SO_REUSEPORT), and the kernel gives each connection to one of them. What belongs to another process is passed
on between them (`gym_core/fleet.py`). The secret that signs session ids travels in the environment of the processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import secrets
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from gym_core import auth
from gym_core.access import Access
from gym_core.errors import BadRequest, Conflict, Unavailable
from gym_core.serve import watch_parent

READY_S = 60.0
STOP_S = 8.0
SHORT_LIFE_S = 5.0
SHORT_LIVES = 3
"""A process that dies so often, each time so soon after it was ready, is not started again: all end."""

SECRET = "PALAESTRA_ENVIRONMENTS_SESSION_SECRET"


def serve_together(
    arguments: list[str], size: int, host: str, port: int, parent_pid: int | None, shares_secret: bool
) -> None:
    """Serve until SIGTERM or SIGINT, or until `parent_pid` is gone. `arguments` start one process, without its port;
    `shares_secret` says that the processes find the same secret by themselves.

    Announces itself as a single server does. Raises `Unavailable` when processes do not stay alive.
    """
    auth.require_token_beyond_loopback(host, Access.configured())
    with tempfile.TemporaryDirectory(prefix="palaestra-fleet-") as folder, _taken(host, port) as taken:
        asyncio.run(_Fleet(arguments, size, host, taken.getsockname()[1], Path(folder), shares_secret).run(parent_pid))


@contextlib.contextmanager
def _taken(host: str, port: int) -> Iterator[socket.socket]:
    """The port, bound so that our processes may bind it too."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # Others who would share the port are told apart from us by asking first without sharing.
        with socket.socket(family, kind) as alone:
            alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            alone.bind(address)
            address = alone.getsockname()
        taken = socket.socket(family, kind)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(address)
    except OSError as error:
        if port and error.errno == errno.EADDRINUSE:
            raise Conflict(
                f"port {port} on {host} is in use", field="port", hint="stop what listens there, or use port 0"
            ) from None
        raise BadRequest(f"cannot listen on {host}:{port}: {error.strerror}", field="host") from None
    with taken:
        yield taken


class _Fleet:
    """The processes by slot."""

    def __init__(
        self, arguments: list[str], size: int, host: str, port: int, folder: Path, shares_secret: bool
    ) -> None:
        self._arguments, self._size, self._host, self._port, self._folder = arguments, size, host, port, folder
        self._environ = {**os.environ, **({} if shares_secret else {SECRET: secrets.token_hex(32)})}
        self._processes: dict[int, asyncio.subprocess.Process] = {}

    async def run(self, parent_pid: int | None) -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        if parent_pid is not None:
            watch_parent(parent_pid, stop, loop)
        stopping = loop.create_task(stop.wait())
        keepers: list[asyncio.Task[None]] = []
        try:
            await self._until(stopping, asyncio.gather(*(self._start(slot) for slot in range(self._size))))
            if not stop.is_set():
                self._announce()
            keepers = [loop.create_task(self._keep(slot)) for slot in range(self._size)]
            waited: set[asyncio.Task[Any]] = {stopping, *keepers}
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            for keeper in keepers:
                if keeper.done():
                    keeper.result()  # raises why a process could not be kept alive
        finally:
            for task in (stopping, *keepers):
                task.cancel()
            await asyncio.gather(stopping, *keepers, return_exceptions=True)
            await asyncio.gather(*(_end(process) for process in self._processes.values()))

    @staticmethod
    async def _until(stopping: asyncio.Future[Any], work: asyncio.Future[Any]) -> None:
        await asyncio.wait([stopping, work], return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
        else:
            work.cancel()

    async def _start(self, slot: int) -> None:
        """A process in this slot, listening. Raises `Unavailable` where it ends or stays silent instead."""
        place = f"{slot}:{self._size}:{self._folder}"
        where = ["--host", self._host, "--port", str(self._port), "--parent-pid", str(os.getpid()), "--fleet", place]
        process = self._processes[slot] = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "palaestra",
            *self._arguments,
            *where,
            stdout=asyncio.subprocess.PIPE,
            env=self._environ,
        )
        assert process.stdout is not None
        try:
            line = await asyncio.wait_for(process.stdout.readline(), READY_S)
        except TimeoutError:
            line = b""
        if not line:
            raise Unavailable(f"process {slot} of {self._size} did not start", stage="start", hint="its log says why")

    async def _keep(self, slot: int) -> None:
        """Start the process anew whenever it has ended."""
        short = 0
        while True:
            began = time.monotonic()
            await self._processes[slot].wait()
            short = short + 1 if time.monotonic() - began < SHORT_LIFE_S else 0
            if short >= SHORT_LIVES:
                raise Unavailable(f"process {slot} of {self._size} keeps dying", stage="serve", hint="its log says why")
            await self._start(slot)

    def _announce(self) -> None:
        host = f"[{self._host}]" if ":" in self._host else self._host
        host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "127.0.0.1"}.get(host, host)
        pids = [self._processes[slot].pid for slot in range(self._size)]
        ready = {"ready": True, "url": f"http://{host}:{self._port}", "pid": os.getpid(), "processes": pids}
        print(msgspec.json.encode(ready).decode(), flush=True)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ask it to end, then insist."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_S)
    except TimeoutError:
        process.kill()
        await process.wait()
