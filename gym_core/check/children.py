"""The processes of the gate: probes and the checked service, under the guard, each with a deadline and a hard kill."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import msgspec
import psutil

from gym_core.check import guard
from gym_core.check.seen import ProbeRequest, Seen

_SITE = """
import importlib.util
spec = importlib.util.spec_from_file_location("palaestra_guard", {guard!r})
guard = importlib.util.module_from_spec(spec)
spec.loader.exec_module(guard)
guard.install({log!r}, {block!r}, {home!r})
"""
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Sight(msgspec.Struct, frozen=True):
    """What the guard saw: `kind` is `network` or `random`."""

    kind: str
    what: str
    place: str


class ChildFault(Exception):
    """A process of the gate could not do its work: the environment cannot be loaded, or hangs.

    `sights` is what the guard had seen by then.
    """

    def __init__(self, message: str, sights: Sequence[Sight] = ()) -> None:
        super().__init__(message)
        self.sights = list(sights)


class Den:
    """A temporary folder from which guarded interpreters start, for the environment at `place`. Used as a context."""

    def __init__(self, place: Path, block_network: bool) -> None:
        self._home = place.parent
        self._block = block_network

    def __enter__(self) -> Den:
        self._folder = tempfile.TemporaryDirectory(prefix="palaestra-check-")
        self.path = Path(self._folder.name)
        log, home = str(self.path / "sights"), str(self._home)
        site = _SITE.format(guard=guard.__file__, log=log, block=self._block, home=home)
        (self.path / "sitecustomize.py").write_text(site)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._folder.cleanup()

    def sights(self) -> list[Sight]:
        """What the guard saw so far, in all processes."""
        log = self.path / "sights"
        lines = log.read_bytes().splitlines() if log.exists() else []
        return list(dict.fromkeys(msgspec.json.decode(line, type=Sight) for line in lines))

    def environ(self, hash_seed: int) -> dict[str, str]:
        """The surroundings of a guarded interpreter."""
        paths = [str(self.path), *(os.path.abspath(path) for path in sys.path)]
        return {
            **os.environ,
            **dict.fromkeys(_ONE_THREAD, "1"),
            "PYTHONPATH": os.pathsep.join(paths),
            "PYTHONHASHSEED": str(hash_seed),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PALAESTRA_LOG": "json",
        }

    async def probe(self, request: ProbeRequest, hash_seed: int, limit_s: float) -> Seen:
        """What a fresh process sees. Raises `ChildFault` with its last words, or when it takes longer than it may."""
        with (self.path / "probe.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "gym_core.check.probe",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=self.environ(hash_seed),
                start_new_session=True,
            )
        try:
            async with asyncio.timeout(limit_s):
                said, _ = await process.communicate(msgspec.json.encode(request))
        except TimeoutError:
            raise ChildFault(f"making its tasks took longer than {limit_s:g} s", self.sights()) from None
        finally:
            await end(process)
        if process.returncode != 0:
            said_last = _last_words(self.path / "probe.log") or f"the process ended with {process.returncode}"
            raise ChildFault(said_last, self.sights())
        return msgspec.json.decode(said, type=Seen)

    async def serve(self, place: str, name: str, limit_s: float, recorded: str = "") -> ServiceChild:
        """The environment as a service, with its judge where judgements are recorded. Raises `ChildFault`."""
        log_path = self.path / "service.log"
        began = time.perf_counter()
        with log_path.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "gym_core.check.service", place, name, str(os.getpid()), recorded),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=self.environ(hash_seed=77),
                start_new_session=True,
            )
        assert process.stdout is not None
        line = b""
        try:
            async with asyncio.timeout(limit_s):
                line = await process.stdout.readline()
        except TimeoutError:
            raise ChildFault(f"the service did not answer within {limit_s:g} s") from None
        finally:
            if not line:
                await end(process)
        if not line:
            raise ChildFault(f"the service does not start: {_last_words(log_path)}")
        return ServiceChild(line.decode().strip(), process, time.perf_counter() - began, log_path)


class ServiceChild:
    """The running service: `startup_s` wall seconds until it listened, and what it had used by then."""

    def __init__(self, url: str, process: asyncio.subprocess.Process, startup_s: float, log_path: Path) -> None:
        self.url = url
        self.startup_s = startup_s
        self._process = process
        self._log_path = log_path
        self._info = psutil.Process(process.pid)
        times = self._info.cpu_times()
        self.startup_cpu_s = times.user + times.system
        self.startup_mb = self._info.memory_info().rss / 2**20

    def memory_mb(self) -> float:
        """Resident memory now, workers included."""
        total = 0
        for process in (self._info, *self._info.children(recursive=True)):
            try:
                total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return total / 2**20

    def holdings(self) -> dict[str, int]:
        """What a session that is not released would leave behind: threads, open files, child processes."""
        return {
            "threads": self._info.num_threads(),
            "open files": self._info.num_fds(),
            "processes": len(self._info.children(recursive=True)),
        }

    def log(self) -> str:
        return self._log_path.read_text(errors="replace")

    async def stop(self) -> None:
        await end(self._process)


async def end(process: asyncio.subprocess.Process) -> None:
    """Kill a process and its group. Twice is no harm."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _last_words(path: Path) -> str:
    lines = [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].removeprefix("gym_core.errors.") if lines else ""
