"""A value made from a file, and made anew once the file has changed: settings that must change without a restart."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from gym_core import telemetry
from gym_core.errors import BadRequest

LOOK_EVERY_S = 1.0
T = TypeVar("T")
log = telemetry.logger("files")


class Watched(Generic[T]):
    """`make` reads the file and raises `BadRequest` where it cannot: the first time to the caller, later to the log.

    A file that is gone or broken changes nothing: what was read last stays.
    """

    def __init__(self, path: Path, make: Callable[[], T], clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._make, self._clock = path, make, clock
        self._mark = _mark(path)
        self._value = make()
        self._looked = clock()

    def get(self) -> T:
        """The value as the file says it, at most `LOOK_EVERY_S` seconds late."""
        now = self._clock()
        if now - self._looked >= LOOK_EVERY_S:
            self._looked = now
            mark = _mark(self._path)
            if mark != self._mark:
                self._mark = mark
                self._again()
        return self._value

    def _again(self) -> None:
        try:
            self._value = self._make()
            log.info("%s has changed and was read again", self._path.name)
        except BadRequest as error:
            log.error("%s; what was valid before stays valid", error.message)


def _mark(path: Path) -> tuple[int, int, int]:
    """Another one whenever the file is another one."""
    try:
        stat = path.stat()
    except OSError:
        return (0, 0, 0)
    return (stat.st_mtime_ns, stat.st_size, stat.st_ino)
