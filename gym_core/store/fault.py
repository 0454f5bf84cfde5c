"""The error of the store: the disk is full, the database is locked, bytes are not what they were."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError

from gym_core.errors import PalaestraError

_FULL = "free some space and try again"
_LOCKED = ("another process kept the database locked", "try again; see which process writes it")
_BY_SQLSTATE = {
    "53100": ("the disk of the server is full", _FULL),
    "55P03": _LOCKED,
    "57P01": ("the server was shut down", "try again when it is back"),
    "25006": ("the server takes no writes", "name the primary server, not a replica"),
    "42501": ("the user may not write there", "grant the rights, or name another user"),
}
"""Codes of PostgreSQL (appendix A of its manual)."""


class StoreFault(PalaestraError):
    """The store could not keep or find what it should; what was acknowledged before is safe."""

    code, status, retryable = "store_fault", 507, True


def fault_of(error: Exception, where: str) -> PalaestraError:
    """The typed error for anything that a write or a read may raise."""
    if isinstance(error, PalaestraError):
        return error
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    said, hint = _told(error, cause)
    return StoreFault(f"{where}: {said}", stage="store", hint=hint)


def lost_connection(error: Exception) -> bool:
    """Whether the server hung up: what was asked may have happened or not."""
    return isinstance(error, DBAPIError) and error.connection_invalidated


def _told(error: Exception, cause: BaseException) -> tuple[str, str]:
    if isinstance(cause, OSError):
        return cause.strerror or str(cause), _FULL
    if isinstance(cause, sqlite3.OperationalError) and "locked" in str(cause):
        return _LOCKED
    state = getattr(cause, "sqlstate", None)
    if state in _BY_SQLSTATE:
        return _BY_SQLSTATE[state]
    said = f"{cause}".strip() or type(cause).__name__
    if lost_connection(error) or (state is None and hasattr(cause, "sqlstate")):
        return said.splitlines()[0], "the server could not be reached; try again when it is back"
    return said.splitlines()[0], "see whether the disk is full or the file is damaged"
