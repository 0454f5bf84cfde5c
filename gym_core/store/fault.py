"""The error of the store: the disk is full, the database is locked, bytes are not what they were."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError

from gym_core.errors import PalaestraError


class StoreFault(PalaestraError):
    """The store could not keep or find what it should; what was acknowledged before is safe."""

    code, status, retryable = "store_fault", 507, True


def fault_of(error: Exception, where: str) -> PalaestraError:
    """The typed error for anything that a write or a read may raise."""
    if isinstance(error, PalaestraError):
        return error
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    if isinstance(cause, OSError):
        said, hint = cause.strerror or str(cause), "free some space and try again"
    elif isinstance(cause, sqlite3.OperationalError) and "locked" in str(cause):
        said, hint = "another process kept the database locked", "try again; see which process writes it"
    else:
        said, hint = f"{cause}" or type(cause).__name__, "see whether the disk is full or the file is damaged"
    return StoreFault(f"{where}: {said}", stage="store", hint=hint)
