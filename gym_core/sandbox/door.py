"""Where cages come to: a socket in a folder that the sandbox service shares with containers which have nothing else.

    jail (no network, no rights, read-only)            sandbox service
      zygote ──connect──▶ door.sock ◀──listen── Door.welcome() ─▶ Zygote that said what holds it

A container that is started anew comes back by itself, so cages may be added, killed and replaced while the service
runs. What a cage says of itself was read by its zygote before any job ran, and is judged here: one that has a network,
rights, or a file system to write to is turned away.
"""

from __future__ import annotations

import os
import select
import socket
from pathlib import Path
from typing import IO, Any, ClassVar

from gym_core.errors import BadRequest
from gym_core.sandbox.faults import SandboxFault
from gym_core.sandbox.zygote import Zygote

HELLO_TIMEOUT_S = 10.0


class Visitor:
    """The process at the other end of a connection: it is there as long as it has not hung up."""

    stderr: IO[bytes] | None = None

    def __init__(self, control: socket.socket) -> None:
        self._control = control

    def poll(self) -> int | None:
        poll = select.poll()
        poll.register(self._control, select.POLLRDHUP | select.POLLHUP)
        return 0 if poll.poll(0) else None

    def wait(self, timeout: float | None = None) -> int:
        """Nothing to wait for: it is no child of ours, and its container sees to its end."""
        return 0

    def kill(self) -> None:
        """Closing the connection ends what it runs."""


class Door:
    """Listens for cages at `path`."""

    name: ClassVar[str] = "jail"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            path.unlink(missing_ok=True)
            self.socket.bind(str(path))
            path.chmod(0o666)  # the cage's user is nobody here; the folder decides who comes near
        except OSError as error:
            self.socket.close()
            raise BadRequest(f"cannot make the door {path}: {error.strerror}", field="door") from None
        self.socket.listen(64)
        self.socket.setblocking(False)

    def close(self) -> None:
        self.socket.close()
        self.path.unlink(missing_ok=True)


def welcome(control: socket.socket, *, trusting: bool = False) -> Zygote:
    """The zygote behind a new connection. Raises `SandboxFault` where it says nothing sensible or is no cage;
    `trusting` takes any."""
    control.setblocking(True)
    zygote = Zygote(Visitor(control), control)
    zygote.hello()
    missing = weaknesses(zygote.cage)
    if missing and not trusting:
        zygote.close()
        raise SandboxFault(f"that is no cage: {'; '.join(missing)}", hint="see the service `jail` of compose.yaml")
    return zygote


def weaknesses(cage: dict[str, Any]) -> list[str]:
    """Why programs in there would not be kept; empty for a cage."""
    found = {
        "it says nothing of itself": not cage,
        "its zygote is not the first process": not cage.get("first_process"),
        "it runs as root": cage.get("uid", 0) == 0,
        "it has capabilities": cage.get("capabilities", 1) != 0,
        "it may gain privileges": not cage.get("no_new_privileges"),
        "no system calls are refused": not cage.get("seccomp"),
        f"it has network interfaces: {', '.join(cage.get('interfaces', ['?']))}": cage.get("interfaces", ["?"]) != [],
        "its root can be written to": not cage.get("read_only_root"),
        "its memory has no limit": cage.get("memory_limit") is None,
        "its processes have no limit": cage.get("process_limit") is None,
    }
    return [why for why, is_so in found.items() if is_so]


def folder_of(path: Path) -> Path:
    """The folder of a door, which must be there. Raises `BadRequest`."""
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise BadRequest(f"no folder for the door at {path.parent}", field="door", hint="mount the one cages see")
    return path.parent
