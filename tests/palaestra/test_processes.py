"""Services as child processes: told where they listen, and left behind by nobody, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import psutil
import pytest

from gym_core.errors import DeadlineExceeded, Unavailable
from palaestra.processes import start_service

PATIENCE_S = 60.0


def scripted(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> Path:
    """Every `palaestra` that is started now runs this instead; the file that its process id is written to."""
    told = folder / "pid"
    program = folder / "program"
    part = str(told) + ".part"
    program.write_text(
        f"#!{sys.executable}\nimport os, signal\n"
        f"open({part!r}, 'w').write(str(os.getpid())); os.rename({part!r}, {str(told)!r})\n"
        f"{script}\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    return told


async def pid_of(told: Path) -> int:
    async with asyncio.timeout(PATIENCE_S):
        while not told.exists():
            await asyncio.sleep(0.02)
    return int(told.read_text())


async def test_who_is_cancelled_while_it_waits_leaves_no_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = scripted(monkeypatch, tmp_path, "signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()")
    starting = asyncio.create_task(start_service("slow", [], tmp_path))
    pid = await pid_of(told)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(starting, PATIENCE_S)
    assert not psutil.pid_exists(pid)


async def test_one_that_stays_silent_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = scripted(monkeypatch, tmp_path, "signal.pause()")
    with pytest.raises(DeadlineExceeded, match="said nothing for 1 s"):
        await start_service("silent", [], tmp_path, ready_s=1.0)
    assert not told.exists() or not psutil.pid_exists(int(told.read_text()))


async def test_one_that_says_something_else_is_ended_and_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = scripted(monkeypatch, tmp_path, "print('Segmentation fault?', flush=True); signal.pause()")
    with pytest.raises(Unavailable, match="did not say where it listens but: Segmentation fault"):
        await start_service("odd", [], tmp_path)
    assert not psutil.pid_exists(int(told.read_text()))


async def test_one_that_dies_first_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, tmp_path, "import sys; print('no such thing', file=sys.stderr); raise SystemExit(7)")
    with pytest.raises(Unavailable, match="ended with code 7: no such thing"):
        await start_service("dead", [], tmp_path)


async def test_one_that_listens_is_known_and_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = json.dumps({"ready": True, "url": "http://127.0.0.1:1", "pid": os.getpid()})
    told = scripted(monkeypatch, tmp_path, f"print({ready!r}, flush=True); signal.pause()")
    service = await start_service("well", [], tmp_path)
    assert service.url == "http://127.0.0.1:1"
    await service.stop()
    await service.stop()
    assert not psutil.pid_exists(int(told.read_text()))
