"""Services as child processes: started together, their addresses learned from their first line, ended together.

A child binds port 0 and prints where it listens, so no port is picked in advance and none can be taken in between. A
child that dies or stays silent is an error with its last words, not a hang; whoever is cancelled while it waits for one
leaves none behind.
"""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec

from gym_core.errors import DeadlineExceeded, Unavailable

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 5.0


class _Ready(msgspec.Struct):
    url: str
    pid: int


@dataclass(slots=True)
class ServiceProcess:
    """A running service: where it listens, and the file its log goes to."""

    name: str
    url: str
    process: asyncio.subprocess.Process
    log_path: Path

    async def stop(self) -> None:
        """Ask it to end, then insist."""
        if self.process.returncode is not None:
            return
        self.process.terminate()
        try:
            await asyncio.wait_for(self.process.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


async def start_service(
    name: str, arguments: list[str], log_dir: Path, ready_s: float = READY_TIMEOUT_S
) -> ServiceProcess:
    """Start `palaestra ARGUMENTS` and wait until it listens, at most `ready_s`.

    Raises `Unavailable` with the end of its log when it dies first or announces something else, `DeadlineExceeded` when
    it stays silent.
    """
    log_dir.mkdir(parents=True, exist_ok=True)
    log_path = log_dir / f"{name}.log"
    environ = {**os.environ, "PALAESTRA_LOG": "json"}
    with log_path.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "palaestra", *arguments, stdout=asyncio.subprocess.PIPE, stderr=log, env=environ
        )
    try:
        ready = await _announced(process, name, log_path, ready_s)
    except BaseException:
        if process.returncode is None:
            process.kill()
            await asyncio.shield(process.wait())
        raise
    return ServiceProcess(name, ready.url, process, log_path)


async def _announced(process: asyncio.subprocess.Process, name: str, log_path: Path, ready_s: float) -> _Ready:
    """What the first line of a child says."""
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), ready_s)
    except TimeoutError:
        raise DeadlineExceeded(
            f"the {name} service said nothing for {ready_s:.0f} s", stage="start", hint=f"its log: {log_path}"
        ) from None
    if not line:
        code = await process.wait()
        raise Unavailable(f"the {name} service ended with code {code}: {_tail(log_path)}", stage="start")
    try:
        return msgspec.json.decode(line, type=_Ready)
    except msgspec.MsgspecError:
        said = line[:200].decode(errors="replace").strip()
        raise Unavailable(
            f"the {name} service did not say where it listens but: {said}", stage="start", hint=f"its log: {log_path}"
        ) from None


def _tail(path: Path, num_lines: int = 5) -> str:
    lines = path.read_text(errors="replace").strip().splitlines()
    return " | ".join(lines[-num_lines:]) or "it left no log"
