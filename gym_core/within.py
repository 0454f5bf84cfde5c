"""A bound on time that costs nothing where nothing waits: the timer is set once what is bounded first waits.

    within(5.0, coroutine):  run it ─▶ it returns ─▶ its value
                                  └─▶ it waits ─▶ set the timer ─▶ … as `asyncio.timeout` from here

Most verdicts, tools and look-ups are over before the event loop would have looked at a timer.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Coroutine, Generator
from typing import Any, TypeVar

T = TypeVar("T")


async def within(seconds: float | None, coroutine: Coroutine[Any, Any, T]) -> T:
    """What `coroutine` returns. Raises TimeoutError where it waits longer; None sets no bound."""
    if seconds is None:
        return await coroutine
    try:
        first = coroutine.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    async with asyncio.timeout(seconds):
        return await _rest(coroutine, first)


@types.coroutine
def _rest(coroutine: Coroutine[Any, Any, T], waits_for: Any) -> Generator[Any, Any, T]:
    """Go on with a coroutine that was begun and waits: what it waits for is passed on as it came."""
    try:
        while True:
            try:
                sent = yield waits_for
            except BaseException as error:  # of the task: a cancellation belongs to whoever waits
                waits_for = coroutine.throw(error)
            else:
                waits_for = coroutine.send(sent)
    except StopIteration as done:
        value: T = done.value
        return value
