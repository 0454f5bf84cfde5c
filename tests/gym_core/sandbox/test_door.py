"""Cages at the door: what is none is turned away, what is one runs programs, and a job cannot reach the door itself."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gym_core.errors import BadRequest
from gym_core.sandbox.door import Door, folder_of, weaknesses, welcome
from gym_core.sandbox.faults import SandboxFault
from gym_core.sandbox.inside.cage import facts
from gym_core.sandbox.interpreter import INSIDE
from gym_core.sandbox.run import Ended, Limits, python_program
from gym_core.sandbox.zygote import Zygote

SHORT = Limits(cpu_s=5.0, wall_s=20.0, memory_mb=256, output_bytes=1 << 20)
CAGE = {
    "first_process": True,
    "uid": 10002,
    "capabilities": 0,
    "no_new_privileges": True,
    "seccomp": True,
    "interfaces": [],
    "read_only_root": True,
    "memory_limit": 1 << 30,
    "process_limit": 128,
}


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder with a short path: addresses of sockets are short."""
    with tempfile.TemporaryDirectory(prefix="pal-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def door(place: Path) -> Iterator[Door]:
    opened = Door(place / "door.sock")
    yield opened
    opened.close()


@pytest.fixture
def zygote_outside(place: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A zygote that believes to be caged, and is not."""
    (place / "tmp").mkdir()
    options = {
        "private": False,
        "caged": True,
        "writable": [str(place / "tmp")],
        "connect": str(place / "door.sock"),
        "spare_processes": 4096,
    }
    process = subprocess.Popen([sys.executable, "-sB", "-X", "utf8", f"{INSIDE}/zygote.py", "0", json.dumps(options)])
    yield process
    process.kill()
    process.wait()


async def come(door: Door, *, trusting: bool) -> Zygote:
    async with asyncio.timeout(60):
        control, _ = await asyncio.get_running_loop().sock_accept(door.socket)
    return await asyncio.to_thread(lambda: welcome(control, trusting=trusting))


def test_a_cage_has_no_weakness() -> None:
    assert weaknesses(CAGE) == []


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("first_process", False, "not the first process"),
        ("uid", 0, "runs as root"),
        ("capabilities", 1 << 7, "has capabilities"),
        ("no_new_privileges", False, "gain privileges"),
        ("seccomp", False, "no system calls are refused"),
        ("interfaces", ["eth0"], "eth0"),
        ("read_only_root", False, "written to"),
        ("memory_limit", None, "memory has no limit"),
        ("process_limit", None, "processes have no limit"),
    ],
)
def test_each_gap_is_named(name: str, value: object, why: str) -> None:
    found = weaknesses({**CAGE, name: value})
    assert len(found) == 1 and why in found[0]
    assert weaknesses({key: known for key, known in CAGE.items() if key != name}), "silence is a weakness too"


def test_what_says_nothing_is_no_cage() -> None:
    assert "it says nothing of itself" in weaknesses({})


def test_facts_are_those_of_this_process() -> None:
    found = facts()
    assert found["uid"] == os.getuid() and found["first_process"] is False
    assert set(found) == set(CAGE)


async def test_a_zygote_without_a_cage_is_turned_away(door: Door, zygote_outside: subprocess.Popen[bytes]) -> None:
    with pytest.raises(SandboxFault, match="that is no cage: its zygote is not the first process"):
        await come(door, trusting=False)


async def test_it_runs_programs_and_comes_back_when_it_was_sent_away(
    door: Door, zygote_outside: subprocess.Popen[bytes]
) -> None:
    zygote = await come(door, trusting=True)
    assert zygote.alive
    run = await asyncio.to_thread(zygote.run, python_program("print(6 * 7)"), b"", SHORT)
    assert (run.ended, run.stdout) == (Ended.OK, b"42\n")
    zygote.close()
    again = await come(door, trusting=True)
    assert zygote_outside.poll() is None
    zygote_outside.kill()
    zygote_outside.wait()
    assert not again.alive
    again.close()


async def test_a_job_reaches_neither_the_door_nor_its_zygote(
    door: Door, zygote_outside: subprocess.Popen[bytes]
) -> None:
    zygote = await come(door, trusting=True)
    attacks = (
        f"import socket\ns = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\ns.connect({str(door.path)!r})",
        "import os, resource\nresource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (0, 0))",
    )
    for attack in attacks:
        run = await asyncio.to_thread(zygote.run, python_program(f"{attack}\nprint('got through')"), b"", SHORT)
        assert run.stdout == b"" and b"Operation not permitted" in run.stderr, attack
    harmless = "import resource, socket\nsocket.socketpair()\nsocket.socket()\nresource.getrlimit(0)\nprint('ok')"
    assert (await asyncio.to_thread(zygote.run, python_program(harmless), b"", SHORT)).stdout == b"ok\n"
    zygote.close()


def test_a_door_needs_a_folder(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="no folder for the door"):
        folder_of(tmp_path / "absent" / "door.sock")
    with pytest.raises(BadRequest, match="cannot make the door"):
        Door(tmp_path / "absent" / "door.sock")
