"""A soft deadline for pure Python work, which a worker survives.

Math-Verify's own timeouts are alarms that only work in a main thread and that end what else runs there. Here a timer
interrupts the enclosed code alone where this is the main thread, as it is in a worker, and is taken back afterwards; in
any other thread the interpreter's trace hook, called once per Python function call, looks at the clock. What one call
into C never gives back is bounded by `magnitude` beforehand and by the worker's hard kill at last.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import Any

AGAIN_S = 0.05
"""The timer fires again after so long, in case a library has swallowed the first interruption."""


class Overrun(BaseException):
    """Raised inside the slow work; not an Exception, so that a library's own handlers let it through."""


def deadline(seconds: float) -> AbstractContextManager[None]:
    """Raise `Overrun` in the enclosed code once `seconds` are over. Timer, handler and hook are left as they were."""
    if threading.current_thread() is threading.main_thread():
        return _timer(seconds)
    return _trace(seconds)


@contextmanager
def _timer(seconds: float) -> Iterator[None]:
    def over(number: int, frame: FrameType | None) -> None:
        raise Overrun

    before = signal.signal(signal.SIGALRM, over)
    began = time.monotonic()
    left_s, interval_s = signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
        if left_s:  # somebody else's timer was running
            signal.setitimer(signal.ITIMER_REAL, max(0.001, left_s - (time.monotonic() - began)), interval_s)


@contextmanager
def _trace(seconds: float) -> Iterator[None]:
    end = time.monotonic() + seconds
    before = sys.gettrace()

    def look(frame: FrameType, event: str, argument: Any) -> None:
        if time.monotonic() > end:
            raise Overrun

    sys.settrace(look)
    try:
        yield
    finally:
        sys.settrace(before)
