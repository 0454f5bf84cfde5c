"""Verdicts on sessions that ended with them, kept for a while: who lost the reply on the way asks once more.

    /verify, Prefer: close-session ─▶ verdict ─▶ remembered ─▶ session closed ─▶ reply, or a connection that breaks
    /verify, the same request      ─▶ the same bytes

The same request is one with the same session and Idempotency-Key.
"""

from __future__ import annotations

from collections import OrderedDict

MAX_BYTES = 8 << 20
"""Of all replies that are kept: half a minute of a thousand a second."""

MAX_REPLY_BYTES = 1 << 16
Asked = tuple[str, str]
"""Session and Idempotency-Key of a request."""

_OVERHEAD = 400


class Told:
    """The newest replies by request, within `max_bytes`."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._replies: OrderedDict[Asked, bytes] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return len(self._replies)

    def remember(self, asked: Asked, reply: bytes) -> bool:
        """Whether it is kept; one that is too long is not."""
        if len(reply) > MAX_REPLY_BYTES:
            return False
        if asked not in self._replies:
            self._replies[asked] = reply
            self._size += _weight(asked, reply)
        while self._size > self._max_bytes:
            self._size -= _weight(*self._replies.popitem(last=False))
        return asked in self._replies

    def find(self, asked: Asked) -> bytes | None:
        return self._replies.get(asked)


def _weight(asked: Asked, reply: bytes) -> int:
    return len(asked[0]) + len(asked[1]) + len(reply) + _OVERHEAD
