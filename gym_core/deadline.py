"""The moment at which a request gives up, and the typed error for whatever went wrong before it."""

from __future__ import annotations

import asyncio

import aiohttp

from gym_core.errors import DeadlineExceeded, PalaestraError, RemoteError, Unavailable


class Deadline:
    """The moment at which a request gives up."""

    def __init__(self, seconds: float) -> None:
        self._clock = asyncio.get_running_loop().time
        self._seconds = seconds
        self._end = self._clock() + seconds

    def left_s(self) -> float:
        return max(0.0, self._end - self._clock())

    def over(self, url: str) -> DeadlineExceeded:
        return DeadlineExceeded(f"{url} did not answer within {self._seconds:g} s")

    def explain(self, error: Exception, url: str) -> PalaestraError:
        """The typed error for what went wrong while a request was under way."""
        if isinstance(error, PalaestraError):
            return error
        if isinstance(error, TimeoutError):
            return self.over(url)
        if isinstance(error, aiohttp.ClientPayloadError):
            return Unavailable(f"{url} broke off in the middle of its reply")
        if isinstance(error, aiohttp.ClientResponseError):
            return RemoteError(f"{url} did not answer in HTTP: {error.message}".splitlines()[0])
        return Unavailable(f"the connection to {url} broke: {reason(error)}")


def reason(error: BaseException) -> str:
    """What the system says of a connection that failed."""
    cause = getattr(error, "os_error", None) or error
    return getattr(cause, "strerror", None) or str(cause) or type(error).__name__
