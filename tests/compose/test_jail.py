"""The cage in a real container: what it says of itself, what programs can do there. Needs an engine and its image."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gym_core.sandbox.docker import engine_answers
from gym_core.sandbox.door import Door, welcome
from gym_core.sandbox.faults import SandboxUnavailable
from gym_core.sandbox.run import Ended, Limits, Run, python_program
from gym_core.sandbox.zygote import Zygote

IMAGE = os.environ.get("PALAESTRA_JAIL_IMAGE", "palaestra/jail")
SHORT = Limits(cpu_s=2.0, wall_s=20.0, memory_mb=256, output_bytes=1 << 20)
# fmt: off
CAGE = (
    "--network", "none", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges:true",
    "--tmpfs", "/tmp:rw,exec,nosuid,nodev,size=64m,nr_inodes=4096,mode=1777",
    "--memory", "1280m", "--memory-swap", "1280m", "--pids-limit", "128", "--ulimit", "core=0",
)
# fmt: on

pytestmark = pytest.mark.docker


@pytest.fixture
def door() -> Iterator[Door]:
    try:
        engine_answers()
    except SandboxUnavailable as error:
        pytest.skip(error.message)
    if subprocess.run(["docker", "image", "inspect", IMAGE], capture_output=True, check=False).returncode:
        pytest.skip(f"there is no image {IMAGE}: docker compose build jail")
    with tempfile.TemporaryDirectory(prefix="pal-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        opened = Door(Path(folder) / "door.sock")
        name = Path(folder).name
        command = ["docker", "run", "--detach", "--rm", "--name", name, *CAGE, "-v", f"{folder}:/run/jail:ro", IMAGE]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        yield opened
        subprocess.run(["docker", "rm", "--force", name], capture_output=True, check=False, timeout=120)
        opened.close()


async def test_the_cage_holds(door: Door) -> None:
    async with asyncio.timeout(120):
        control, _ = await asyncio.get_running_loop().sock_accept(door.socket)
    zygote: Zygote = await asyncio.to_thread(welcome, control)

    async def ran(source: str, stdin: bytes = b"") -> Run:
        return await asyncio.to_thread(zygote.run, python_program(source), stdin, SHORT)

    assert zygote.cage["capabilities"] == 0 and zygote.cage["interfaces"] == [] and zygote.cage["uid"] == 10002
    assert (await ran("print(int(input()) + 1)", b"41")).stdout == b"42\n"
    assert (await ran("x = bytearray(10**10)")).ended is Ended.MEMORY
    assert (await ran("while True: print('x' * 9999)")).ended is Ended.FLOOD
    await ran("import os\nos.makedirs('d/' * 400)\nopen('/dev/shm/f', 'w').write('x')")
    assert (await ran("import os\nprint(os.listdir('.'), os.listdir('/dev/shm'))")).stdout == b"[] []\n"
    await ran("import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(600)")
    assert (await ran("import os\nprint([p for p in os.listdir('/proc') if p.isdigit()])")).stdout.count(b"'") == 4
    await ran("import os\nwhile True: os.fork()")
    for number in (2, 9, 15, 19):
        await ran(f"import os\nos.kill(1, {number})")
    for attack in (
        "import socket\nsocket.create_connection(('1.1.1.1', 53), 1)",
        "import socket\nsocket.socket(socket.AF_UNIX)",
        "open('/x', 'w')",
        "open('/run/jail/x', 'w')",
        "import os\nos.setuid(0)",
        "open('/proc/1/environ').read()",
        "import resource\nresource.prlimit(1, resource.RLIMIT_NOFILE, (0, 0))",
    ):
        run = await ran(attack + "\nprint('got through')")
        assert (run.ended, run.stdout) == (Ended.CRASH, b""), attack
    assert (await ran("print(1)")).stdout == b"1\n"
    zygote.close()
