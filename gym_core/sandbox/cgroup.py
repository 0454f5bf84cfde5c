"""A control group for one sandbox: memory and number of processes of everything in it, where this user may make one.

Version 2 (`/sys/fs/cgroup/<own>/memory.max`) and version 1 (`/sys/fs/cgroup/memory/<own>/memory.limit_in_bytes`).
Resource limits hold for each process; only the group bounds all of them together.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

log = logging.getLogger("palaestra.sandbox")

ROOT = Path("/sys/fs/cgroup")
_NAME = re.compile(r"palaestra-(\d+)-\d+")
_FILES = {  # controller: (limit of version 1, limit of version 2)
    "memory": ("memory.limit_in_bytes", "memory.max"),
    "pids": ("pids.max", "pids.max"),
}
_made = 0


class ControlGroup:
    """The folders of one sandbox; none where nothing is writable."""

    def __init__(self, folders: dict[str, Path], version: int) -> None:
        self.folders = folders
        self._version = version
        self._memory_mb = 0

    @classmethod
    def make(cls, max_processes: int) -> ControlGroup:
        """New folders beside this process's own, as far as that is allowed."""
        global _made
        _made += 1
        name = f"palaestra-{os.getpid()}-{_made}"
        folders: dict[str, Path] = {}
        version = 1
        for controllers, parent in _parents():
            _remove_stale(parent)
            folder = parent / name
            try:
                folder.mkdir()
            except OSError as error:
                log.debug("no control group in %s: %s", parent, error)
                continue
            version = 2 if (folder / "cgroup.controllers").exists() else 1
            for controller in controllers:
                if (folder / _FILES[controller][version - 1]).exists():
                    folders[controller] = folder
        group = cls(folders, version)
        group._write("pids", max_processes)
        return group

    @property
    def bounds_memory(self) -> bool:
        return "memory" in self.folders

    def add(self, pid: int) -> None:
        """Put this process in; what it forks from now on is in it too."""
        for folder in set(self.folders.values()):
            (folder / "cgroup.procs").write_text(str(pid))

    def limit(self, memory_mb: int) -> None:
        """Bound the memory of all processes together."""
        if memory_mb != self._memory_mb:
            self._write("memory", memory_mb << 20)
            self._memory_mb = memory_mb

    def remove(self) -> None:
        """Delete the folders; the processes are gone already."""
        for folder in set(self.folders.values()):
            with suppress(OSError):
                folder.rmdir()
        self.folders = {}

    def _write(self, controller: str, value: int) -> None:
        if controller in self.folders:
            (self.folders[controller] / _FILES[controller][self._version - 1]).write_text(str(value))


def _parents() -> Iterator[tuple[list[str], Path]]:
    """Folders in which this process may have groups of its own, with the controllers they are for."""
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            number, names, place = line.split(":", 2)
            if number == "0":
                yield list(_FILES), ROOT / place.lstrip("/")
            for controller in names.split(","):
                if controller in _FILES:
                    yield [controller], ROOT / controller / place.lstrip("/")


def _remove_stale(parent: Path) -> None:
    """Remove empty groups of processes that were killed before they could."""
    for folder in parent.glob("palaestra-*"):
        match = _NAME.fullmatch(folder.name)
        if match and not Path(f"/proc/{match[1]}").exists():
            with suppress(OSError):
                folder.rmdir()
