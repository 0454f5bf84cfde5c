"""Which Python runs inside: one that a user without any rights can reach."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from gym_core.sandbox.faults import SandboxUnavailable

VARIABLE = "PALAESTRA_SANDBOX_PYTHON"
INSIDE = Path(__file__).resolve().parent / "inside"

_NOBODY_BASE, _NOBODY_SPAN = 700_000, 4_000_000


def jobs_uid() -> int | None:
    """A user id that nobody else has, for the jobs of this process; None where only root could change to it."""
    return _NOBODY_BASE + os.getpid() % _NOBODY_SPAN if os.geteuid() == 0 else None


def find_python() -> Path:
    """The interpreter for the inside: `$PALAESTRA_SANDBOX_PYTHON`, else the one that runs here, else the system's.

    Raises `SandboxUnavailable` where none can be reached by everybody.
    """
    named = os.environ.get(VARIABLE)
    wanted = [named] if named else [sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"]
    for name in wanted:
        path = Path(name).resolve()
        # a copy of an interpreter may stand where everybody gets to, and its library where nobody does
        library = reachable(Path(os.__file__).resolve()) if name == sys.executable else True
        if path.is_file() and reachable(path) and library:
            return path
    raise SandboxUnavailable(
        f"no Python that a user without rights can run: {', '.join(wanted)}",
        hint=f"install the system's python3, or name one in {VARIABLE}",
    )


def reachable(path: Path) -> bool:
    """Whether the jobs' user can get to this file. Without root it is the user who asks."""
    if jobs_uid() is None:
        return os.access(path, os.R_OK)
    folders = all(parent.stat().st_mode & stat.S_IXOTH for parent in path.parents)
    return folders and bool(path.stat().st_mode & stat.S_IROTH)
