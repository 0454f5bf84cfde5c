"""Bubblewrap around a zygote: no network, a read-only system, no host files, namespaces of its own for every job.

As root it gives up root first, so that not even a broken namespace leads back to it. The zygote keeps one capability
inside its user namespace (CAP_SYS_ADMIN, to make the namespaces of jobs), jobs none.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any, ClassVar

from gym_core.sandbox.cgroup import ControlGroup
from gym_core.sandbox.faults import SandboxFault, SandboxUnavailable
from gym_core.sandbox.interpreter import INSIDE, find_python, jobs_uid
from gym_core.sandbox.provider import zygote_command
from gym_core.sandbox.zygote import Zygote

MAX_PROCESSES = 256
ZYGOTE_MB = 128
_USER = "1000"
# fmt: off
_OPTIONS = (
    "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session", "--as-pid-1",
    "--cap-drop", "ALL", "--cap-add", "CAP_SYS_ADMIN", "--hostname", "sandbox",
    "--clearenv", "--setenv", "PYTHONHASHSEED", "0", "--setenv", "PATH", "/usr/local/bin:/usr/bin:/bin",
    "--ro-bind", "/usr", "/usr", "--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache",
    "--proc", "/proc", "--dev", "/dev", "--size", "1048576", "--tmpfs", "/tmp",
)
# fmt: on
_SYSTEM = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")


class GroupedZygote(Zygote):
    """A zygote whose control group follows the memory limit of each run."""

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket, group: ControlGroup) -> None:
        super().__init__(process, control, group.remove)
        self.group = group

    def limit_memory(self, memory_mb: int) -> None:
        self.group.limit(memory_mb + ZYGOTE_MB)


class Bubblewrap:
    """The default provider."""

    name: ClassVar[str] = "bubblewrap"
    strong: ClassVar[bool] = True

    def start(self) -> Zygote:
        """A zygote in new namespaces. Raises `SandboxUnavailable` without bubblewrap 0.8 or later."""
        program = shutil.which("bwrap")
        if program is None:
            raise SandboxUnavailable("bubblewrap is not installed", hint="install the package `bubblewrap`")
        python = find_python()
        group = ControlGroup.make(MAX_PROCESSES)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        told, tell = os.pipe()
        with theirs, open(told, "rb") as info:
            inside = zygote_command(python, "/sandbox", theirs.fileno(), {"private": True, "writable": ["/tmp"]})
            process = _launch([program, *_arguments(python, tell), *inside], theirs.fileno(), tell)
            theirs.close()
            zygote = GroupedZygote(process, ours, group)
            zygote.hello()
            _enter(zygote, json.loads(info.read() or b"{}").get("child-pid"))
        return zygote


def _launch(command: list[str], control: int, tell: int) -> subprocess.Popen[bytes]:
    """Start bubblewrap, without root where this process has it."""
    uid = jobs_uid()
    become: dict[str, Any] = {} if uid is None else {"user": uid, "group": uid, "extra_groups": []}
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(control, tell),
            env={},
            cwd="/",
            **become,
        )
    finally:
        os.close(tell)


def _enter(zygote: GroupedZygote, pid: int | None) -> None:
    """Put the zygote, which has forked nothing yet, into its control group."""
    try:
        if pid is None:
            raise ProcessLookupError("bubblewrap did not say its process id")
        zygote.group.add(pid)
    except OSError as error:
        zygote.close()
        raise SandboxFault(f"the control group refuses the sandbox: {error}") from None


def _arguments(python: Path, info: int) -> list[str]:
    """Options of bwrap, in the order in which it carries them out."""
    arguments = list(_OPTIONS)
    arguments += ["--info-fd", str(info), "--uid", _USER, "--gid", _USER]
    for place in _SYSTEM:
        if os.path.islink(place):
            arguments += ["--symlink", os.readlink(place), place]
        elif os.path.isdir(place):
            arguments += ["--ro-bind", place, place]
    prefix = python.parent.parent
    if not prefix.is_relative_to("/usr"):
        arguments += ["--ro-bind", str(prefix), str(prefix)]
    return [
        *arguments,
        "--ro-bind",
        str(INSIDE),
        "/sandbox",
        "--remount-ro",
        "/dev",
        "--remount-ro",
        "/",
        "--chdir",
        "/",
    ]
