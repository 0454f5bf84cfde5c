"""A soft deadline for pure Python work, without signals: works in any thread, and a worker survives it.

Math-Verify's own timeouts need SIGALRM in the main thread. Here the interpreter's trace hook, called once per Python
function call, looks at the clock. What one call into C never gives back is bounded by `magnitude` beforehand and by
the worker's hard kill at last.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Overrun(BaseException):
    """Raised inside the slow work; not an Exception, so that a library's own handlers let it through."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise `Overrun` in the enclosed code once `seconds` are over. Restores the trace hook that was there."""
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
