"""The last resort: a zygote with resource limits and nothing else. Weak, and says so.

Programs reach the network and every file that their user may read. As root they run under a user id of their own, so
that at least they are not root and can be found and killed; otherwise they run as the user who started this.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import ClassVar

from gym_core.sandbox.interpreter import INSIDE, find_python, jobs_uid
from gym_core.sandbox.provider import zygote_command
from gym_core.sandbox.zygote import Zygote

log = logging.getLogger("palaestra.sandbox")

_SPARE_PROCESSES = 128
"""What else this user may start meanwhile."""


class Plain:
    """Resource limits in a child process."""

    name: ClassVar[str] = "plain"
    strong: ClassVar[bool] = False

    def start(self) -> Zygote:
        """A zygote in this system, warned about in the log."""
        log.warning(
            "programs run WITHOUT a sandbox: only resource limits hold them. Install bubblewrap, or start Docker."
        )
        uid = jobs_uid()
        folder = Path(tempfile.mkdtemp(prefix="palaestra-plain-"))
        shutil.copytree(INSIDE, folder / "inside", ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "tmp").mkdir()
        folder.chmod(0o711)
        if uid is not None:
            os.chown(folder / "tmp", uid, uid)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        options = {
            "private": False,
            "writable": [str(folder / "tmp")],
            "uid": uid,
            "die_with_parent": True,
            "spare_processes": 0 if uid is not None else _own_processes(),
        }
        with theirs:
            process = subprocess.Popen(
                zygote_command(find_python(), folder / "inside", theirs.fileno(), options),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=(theirs.fileno(),),
                env={"PYTHONHASHSEED": "0"},
                start_new_session=True,
            )
        zygote = Zygote(process, ours, lambda: shutil.rmtree(folder, ignore_errors=True))
        zygote.hello()
        return zygote


def _own_processes() -> int:
    """Threads of this user now: the limit on processes counts them all, so it has to leave room for them."""
    uid, count = os.getuid(), 0
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if place.stat().st_uid == uid:
                count += len(list((place / "task").iterdir()))
        except OSError:
            continue  # it ended while it was counted
    return count + _SPARE_PROCESSES
