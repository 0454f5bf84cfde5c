"""Whether a class that was just loaded may be copied to other processes by a fork.

Memory is copied; what lies outside is not: a thread is missing in the copy, a child process and an open file are shared
by all copies, and a scratch folder whose name the object keeps would be everybody's. A class that has left any of these
is loaded by each worker for itself.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Set
from pathlib import Path

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_HARMLESS = (f"{os.sep}__pycache__", os.devnull)
"""Bytecode that an import leaves behind, and what is written to nobody."""


class Outside:
    """What this process does to the world outside its memory, from the beginning on."""

    def __init__(self) -> None:
        self.made = ""
        """The first file or folder that was made or opened for writing."""
        self._watching = True
        sys.addaudithook(self._hear)

    def stop(self) -> None:
        """Jobs may do as they like; a hook stays for ever, so it becomes a cheap one."""
        self._watching = False

    def _hear(self, event: str, args: tuple[object, ...]) -> None:
        if not self._watching or self.made:
            return
        if event == "os.mkdir" or (event == "open" and isinstance(args[2], int) and args[2] & _WRITES):
            place = args[0]
            if isinstance(place, str | bytes) and not any(part in os.fsdecode(place) for part in _HARMLESS):
                self.made = os.fsdecode(place)

    def obstacle(self, channels: Set[int]) -> str:
        """Why a fork of this process would share what it must not, "" where nothing speaks against one.

        `channels`: descriptors beyond the standard three that are meant to be open.
        """
        if self.made:
            return f"it has written {self.made}"
        threads = [int(name) for name in os.listdir("/proc/self/task")]
        if len(threads) > 1:
            return "it has started a thread"
        if any(_children(thread) for thread in threads):
            return "it has started a process"
        for descriptor in set(_open()) - {0, 1, 2} - channels:
            return f"it keeps {_name(descriptor)} open"
        return ""


def _children(thread: int) -> str:
    try:
        return Path(f"/proc/self/task/{thread}/children").read_text().strip()
    except OSError:  # a kernel without that file; a child is seldom without a pipe, and those are found
        return ""


def _open() -> list[int]:
    """Descriptors that are open, the one of this look left out."""
    found = [int(name) for name in os.listdir("/proc/self/fd")]
    return [descriptor for descriptor in found if _name(descriptor)]


def _name(descriptor: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return ""
