"""A full disk as a typed error that names the file, instead of whatever the writer below happened to raise."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from gym_core.errors import PalaestraError

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""No room on the device, none left of the quota, none left of the limit on a file's size."""


_TOLD = re.compile(r"\(os error (\d+)\)")


class DiskFull(PalaestraError):
    """Something could not be written for want of space. What was there before is as it was."""

    code: ClassVar[str] = "disk_full"
    status: ClassVar[int] = 507


@contextmanager
def space_for(path: Path, stage: str) -> Iterator[None]:
    """Whatever runs out of space inside raises DiskFull with the file that it was writing (`path` where none is told).

    Other errors pass as they are. torch and safetensors raise errors of their own around the system's: those count.
    """
    try:
        yield
    except PalaestraError:
        raise
    except Exception as error:
        cause = _no_space(error)
        if cause is None:
            raise
        raise DiskFull(
            f"no space left to write {cause.filename or path}: {cause.strerror}",
            stage=stage,
            server="trainer",
            hint="make room, then go on with `palaestra train --resume RUN`; what was written before is whole",
        ) from error


def _no_space(error: BaseException | None) -> OSError | None:
    """The OSError about space that this error is, came from, or tells of ("os error 28")."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            return error
        told = _TOLD.search(str(error))
        if told and int(told[1]) in NO_SPACE:
            return OSError(int(told[1]), os.strerror(int(told[1])))
        error = error.__cause__ or error.__context__
    return None
