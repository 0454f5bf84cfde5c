"""A whole HTTP reply, and what it means: our own error shape rebuilt, anybody else's translated by its status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from aiohttp import hdrs

from gym_core import headers as names
from gym_core.errors import (
    BadRequest,
    Busy,
    Conflict,
    DeadlineExceeded,
    ErrorInfo,
    PalaestraError,
    RemoteError,
    TooLarge,
    Unauthorized,
    Unavailable,
    UnknownName,
)
from gym_core.tokens import unpack_frame

T = TypeVar("T")

_BY_STATUS: dict[int, type[PalaestraError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Unauthorized,
    404: UnknownName,
    405: BadRequest,
    408: DeadlineExceeded,
    409: Conflict,
    413: TooLarge,
    422: BadRequest,
    429: Busy,
    503: Unavailable,
    504: DeadlineExceeded,
}


class Response:
    """A whole reply."""

    __slots__ = ("body", "headers", "status", "url")

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes, url: str = "") -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.url = url

    @property
    def ok(self) -> bool:
        return self.status < 300

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def json(self, kind: type[T] | Any = Any) -> T:
        """The body as `kind`. Raises `RemoteError` when it is something else."""
        try:
            return msgspec.json.decode(self.body, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise RemoteError(f"the reply of {self.url} is not what was asked for: {error}") from None

    def frame(self) -> tuple[bytes, memoryview]:
        """Head and blob of a reply that is one frame. Raises `RemoteError` when it is not."""
        try:
            return unpack_frame(self.body)
        except ValueError as error:
            raise RemoteError(f"the reply of {self.url} is not a frame: {error}") from None

    def error(self) -> PalaestraError | None:
        """The error this reply stands for, None for a success; a redirect is none, we follow no redirects."""
        return None if self.ok else error_of(self.status, self.headers, self.body, self.url)


class _Body(msgspec.Struct):
    error: Any = None


def error_of(status: int, headers: Mapping[str, str], body: bytes, url: str) -> PalaestraError:
    """The exception that a reply of this status (300 and above) stands for."""
    error = _ours(body) or _foreign(status, body, url)
    error.trace_id = error.trace_id or headers.get(names.TRACE, "")
    error.retry_after_s = _retry_after(headers.get(hdrs.RETRY_AFTER))
    return error


def _ours(body: bytes) -> PalaestraError | None:
    """The error of our shape in `body`: its code is one of ours, or it names the server that sent it."""
    try:
        given = msgspec.json.decode(body, type=_Body).error
        info = msgspec.convert(given, ErrorInfo)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    error = PalaestraError.from_info(info)
    return error if info.server or error.code == info.code else None


def _foreign(status: int, body: bytes, url: str) -> PalaestraError:
    said = _said(body)
    return _BY_STATUS.get(status, RemoteError)(f"{url} answered {status}" + (f": {said}" if said else ""))


def _said(body: bytes) -> str:
    """The first 300 characters of what a foreign error says: `error.message`, `error`, `message`, or the text."""
    try:
        given = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return " ".join(body[:1200].decode("utf-8", "replace").split())[:300]
    for key in ("error", "message", "detail"):
        if isinstance(given, dict) and key in given:
            given = given[key]
    return given[:300] if isinstance(given, str) else msgspec.json.encode(given).decode()[:300]


def _retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header; dates and nonsense count as absent."""
    try:
        seconds = float(value) if value is not None else -1.0
    except ValueError:
        return None
    return seconds if 0.0 <= seconds < 86_400.0 else None
