"""A Docker container around a zygote: no network, a read-only root, limits on memory and processes, no new rights.

The zygote is the container's first process and the only one with capabilities (to become another user, and to end
that user's processes); each job runs as a user without any. A container may make no namespaces, so the zygote kills
and wipes after each job. Parent and zygote meet at a socket in a folder that both see, so the engine must be on this
machine.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any, ClassVar

from gym_core.sandbox.bubblewrap import MAX_PROCESSES, ZYGOTE_MB
from gym_core.sandbox.faults import SandboxFault, SandboxUnavailable
from gym_core.sandbox.interpreter import INSIDE
from gym_core.sandbox.provider import zygote_command
from gym_core.sandbox.zygote import START_TIMEOUT_S, Zygote

IMAGE_VARIABLE = "PALAESTRA_SANDBOX_IMAGE"
DEFAULT_IMAGE = "python:3.11-slim"
MEMORY_MB = 2048
# fmt: off
_OPTIONS = (
    "--rm", "--network", "none", "--read-only", "--user", "0:0", "--ulimit", "core=0",
    "--cap-drop", "ALL", "--cap-add", "SETUID", "--cap-add", "SETGID", "--cap-add", "KILL",
    "--security-opt", "no-new-privileges", "--env", "PYTHONHASHSEED=0",
    "--tmpfs", "/tmp:rw,nosuid,nodev,exec,size=64m,nr_inodes=4096,mode=1777",
)
# fmt: on
_JOBS_UID = 65534
_ASK_TIMEOUT_S = 10.0


class Docker:
    """A container of an image that has Python 3.10 or later (and g++, for C++)."""

    name: ClassVar[str] = "docker"
    strong: ClassVar[bool] = True

    def __init__(self, image: str | None = None, memory_mb: int = MEMORY_MB) -> None:
        self.image = image or os.environ.get(IMAGE_VARIABLE, DEFAULT_IMAGE)
        self.memory_mb = memory_mb

    def start(self) -> Zygote:
        """A zygote in a new container. Raises `SandboxUnavailable` where no engine answers."""
        engine_answers()
        folder = Path(tempfile.mkdtemp(prefix="palaestra-docker-"))
        folder.chmod(0o711)
        path = folder / "zygote.sock"
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
            door.bind(str(path))
            path.chmod(0o666)
            door.listen(1)
            door.settimeout(START_TIMEOUT_S)
            process = subprocess.Popen(
                self._command(folder), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
            control = _meet(door, process, folder)
        zygote = Zygote(process, control, lambda: self._remove(folder))
        zygote.hello()
        return zygote

    def _command(self, folder: Path) -> list[str]:
        options: dict[str, Any] = {
            "private": False,
            "writable": ["/tmp", "/dev/shm"],
            "uid": _JOBS_UID,
            "connect": "/run/palaestra/zygote.sock",
        }
        memory = f"{self.memory_mb + ZYGOTE_MB}m"
        arguments = ["--name", folder.name, "--memory", memory, "--memory-swap", memory]
        arguments += ["--pids-limit", str(MAX_PROCESSES), "--entrypoint", "python3"]
        arguments += ["--volume", f"{INSIDE}:/sandbox:ro", "--volume", f"{folder}:/run/palaestra"]
        return ["docker", "run", *_OPTIONS, *arguments, self.image, *zygote_command("", "/sandbox", 0, options)[1:]]

    def _remove(self, folder: Path) -> None:
        subprocess.run(["docker", "rm", "--force", folder.name], capture_output=True, check=False, timeout=60)
        shutil.rmtree(folder, ignore_errors=True)


def engine_answers() -> None:
    """Raises `SandboxUnavailable`, saying what is missing."""
    hint = "start the Docker engine, or use the bubblewrap sandbox"
    try:
        asked = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=_ASK_TIMEOUT_S,
        )
    except FileNotFoundError:
        raise SandboxUnavailable("there is no `docker` command", hint=hint) from None
    except subprocess.TimeoutExpired:
        raise SandboxUnavailable("the Docker engine does not answer", hint=hint) from None
    if asked.returncode:
        raise SandboxUnavailable(f"no Docker engine: {asked.stderr.strip()[-200:]}", hint=hint)


def _meet(door: socket.socket, process: subprocess.Popen[bytes], folder: Path) -> socket.socket:
    try:
        control, _ = door.accept()
    except TimeoutError:
        process.kill()
        complaint = process.stderr.read().decode(errors="replace") if process.stderr else ""
        shutil.rmtree(folder, ignore_errors=True)
        raise SandboxFault(f"the container did not start: {complaint.strip()[-500:]}") from None
    return control
