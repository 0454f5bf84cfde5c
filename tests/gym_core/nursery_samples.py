"""Classes for the tests of the nursery. Loaded by path, as workers do."""

from __future__ import annotations

import os
import random
import sys
import threading
import uuid


class Copied:
    """Tells what it was born with, and keeps what jobs tell it."""

    def __init__(self) -> None:
        self.born = uuid.uuid4().hex
        self.told = ""

    def birth(self) -> tuple[int, str]:
        return os.getpid(), self.born

    def tell(self, what: str) -> str:
        before, self.told = self.told, what
        return before

    def draw(self) -> tuple[int, float]:
        return os.getpid(), random.random()

    def sockets(self) -> int:
        """Its own channel, and nobody else's."""
        names = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
        return sum(os.readlink(name).startswith("socket:") for name in names if os.path.islink(name))

    def group(self) -> tuple[int, int, int]:
        return os.getpid(), os.getpgid(0), os.getsid(0)

    def hang(self) -> None:
        threading.Event().wait()


class Keeper(Copied):
    """Keeps a file open, which copies would share; its module needs another one."""

    def warm(self) -> None:
        import colorsys

        self.kept = open(sys.executable, "rb")  # noqa: SIM115
        self.needs = colorsys.__name__


class Hanging:
    """Never comes up."""

    def warm(self) -> None:
        threading.Event().wait()


class Late(Copied):
    """Takes a while to warm."""

    def warm(self) -> None:
        threading.Event().wait(1.5)
