"""Expressions that came with a row, run for a bounded time: a row is no more to be trusted than a reply.

Python's own matcher looks at pending signals while it backtracks, so in the main thread (where workers run) a timer
ends it. Elsewhere no timer can be set, and the `regex` library, which has a timeout of its own and reads the same
syntax, takes over.
"""

from __future__ import annotations

import re
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from types import FrameType

import regex

SECONDS = 1.0
MAX_PATTERN = 2000
MAX_TEXT = 1_000_000


class Overrun(BaseException):
    """Raised out of the matcher by the timer; not an Exception, so that nothing on the way takes it for its own."""


class Slow(ValueError):
    """The expression did not finish on this text."""


class Found:
    """One match: what `re.findall` gives for it (text, or a tuple where there are several groups) and where it is."""

    __slots__ = ("span", "value")

    def __init__(self, value: str | tuple[str, ...], span: tuple[int, int]) -> None:
        self.value = value
        self.span = span


def matches(pattern: str, text: str, seconds: float = SECONDS) -> list[Found]:
    """All matches, letters of either case, as `re.findall` finds them.

    Raises `Slow` when they are not known in time, `re.error` for a pattern that is none.
    """
    if len(text) > MAX_TEXT:
        raise Slow(f"a text of more than {MAX_TEXT} characters")
    compiled = _compiled(pattern)
    if threading.current_thread() is not threading.main_thread():
        return _elsewhere(pattern, text, seconds)
    try:
        with _alarm(seconds):
            return [_found(match) for match in compiled.finditer(text)]
    except Overrun:
        raise Slow(f"not decided in {seconds:g} s") from None


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    if len(pattern) > MAX_PATTERN:
        raise re.error(f"a pattern of more than {MAX_PATTERN} characters")
    try:
        with warnings.catch_warnings(action="ignore"):  # of syntax that may change one day
            return re.compile(pattern, re.IGNORECASE)
    except (OverflowError, RecursionError) as error:
        raise re.error(f"a pattern that cannot be compiled: {error}") from None


def _elsewhere(pattern: str, text: str, seconds: float) -> list[Found]:
    try:
        return [_found(match) for match in regex.finditer(pattern, text, regex.IGNORECASE, timeout=seconds)]
    except TimeoutError:
        raise Slow(f"not decided in {seconds:g} s") from None
    except regex.error as error:
        raise re.error(str(error)) from None


def _found(match: re.Match[str] | regex.Match[str]) -> Found:
    groups = tuple(group or "" for group in match.groups())
    if len(groups) > 1:
        return Found(groups, match.span())
    return Found(groups[0] if groups else match.group(), match.span(len(groups)))


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise `Overrun` in the enclosed code after so long. A timer that was running goes on afterwards."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise Overrun

    handler = signal.signal(signal.SIGALRM, ring)
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if left:
            signal.setitimer(signal.ITIMER_REAL, left, interval)
