"""One shape for every error, on every hop (DESIGN §5.2), and the exceptions that carry it.

An exception of this tree is data waiting to be sent: `error.info()` is the JSON body of the HTTP reply, the
`error` field of a rollout, and the line on the terminal. Anything outside the tree is a bug and becomes `internal`.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec


class ErrorInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong, where, and the way out. `field` is a path such as `responses_create_params.input[0].role`."""

    code: str
    message: str
    stage: str = ""
    server: str = ""
    hint: str = ""
    field: str = ""
    trace_id: str = ""

    def __str__(self) -> str:
        where = " ".join(part for part in (self.server, self.stage) if part)
        text = f"{where}: {self.message}" if where else self.message
        return f"{text} ({self.hint})" if self.hint else text


class PalaestraError(Exception):
    """Base of every error that a user, a peer or a rollout may see. A subclass is known by its `code` to every peer."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    _by_code: ClassVar[dict[str, type[PalaestraError]]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        PalaestraError._by_code.setdefault(cls.code, cls)

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        field: str = "",
        stage: str = "",
        server: str = "",
        trace_id: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.field = field
        self.stage = stage
        self.server = server
        self.trace_id = trace_id
        self.retry_after_s = retry_after_s

    def info(self) -> ErrorInfo:
        return ErrorInfo(
            code=self.code,
            message=self.message,
            stage=self.stage,
            server=self.server,
            hint=self.hint,
            field=self.field,
            trace_id=self.trace_id,
        )

    @staticmethod
    def from_info(info: ErrorInfo) -> PalaestraError:
        """Rebuild the exception that a peer sent; an unknown code becomes `RemoteError`."""
        kind = PalaestraError._by_code.get(info.code, RemoteError)
        return kind(
            info.message,
            hint=info.hint,
            field=info.field,
            stage=info.stage,
            server=info.server,
            trace_id=info.trace_id,
        )


def misfit(error: msgspec.ValidationError) -> tuple[str, str]:
    """What msgspec found wrong, and where: `("Expected `int`, got `str`", ".rows[0].seed")`, "" for the whole."""
    what, _, path = str(error).partition(" - at `$")
    return what, path.rstrip("`")


class BadRequest(PalaestraError):
    """The caller's input is wrong; `field` names where."""

    code, status = "bad_request", 400


class BadRow(BadRequest):
    """A task row that an environment refuses at ingest."""

    code, status = "bad_row", 422


class Unauthorized(PalaestraError):
    code, status = "unauthorized", 401


class Forbidden(PalaestraError):
    """A valid token that does not open this."""

    code, status = "forbidden", 403


class UnknownName(PalaestraError):
    """No environment, tool, run or session of that name."""

    code, status = "unknown_name", 404


class BadSession(PalaestraError):
    """A session id that is forged, expired or closed."""

    code, status = "bad_session", 403


class Conflict(PalaestraError):
    """The same id was used for something else, or a port is taken."""

    code, status = "conflict", 409


class SlowBody(PalaestraError):
    """A body that was sent too slowly."""

    code, status = "slow_body", 408


class TooLarge(PalaestraError):
    code, status = "too_large", 413


class Busy(PalaestraError):
    """The queue is full; try again after `retry_after_s`."""

    code, status, retryable = "busy", 429, True


class EnvironmentFault(PalaestraError):
    """The environment itself failed (a raising `verify`, a dead worker): never a reward."""

    code, status = "environment_fault", 500


class JudgeFault(PalaestraError):
    """A judge could not be asked or could not be understood: never a reward."""

    code, status = "judge_fault", 502


class PolicyFault(PalaestraError):
    """The policy server failed or answered something that is not an answer."""

    code, status = "policy_fault", 502


class RemoteError(PalaestraError):
    """A peer answered with an error that is not of our shape."""

    code, status = "remote_error", 502


def refused_behind(error: PalaestraError) -> RemoteError:
    """What a caller is told where the server behind ours does not take our token."""
    return RemoteError(
        f"the {error.server or 'next'} server does not take the token of this one: {error.message}",
        hint="see PALAESTRA_TOKEN, or the file PALAESTRA_SECRETS, of this server",
        stage=error.stage,
        server=error.server,
        trace_id=error.trace_id,
    )


class Unavailable(PalaestraError):
    """Nobody answers at that address."""

    code, status, retryable = "unavailable", 503, True


class DeadlineExceeded(PalaestraError):
    """The time allowed for this hop is over."""

    code, status = "deadline_exceeded", 504


class Cancelled(PalaestraError):
    """The caller took the request back."""

    code, status = "cancelled", 499
