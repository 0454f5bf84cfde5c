"""How late an event loop is: a timer is set, and what it is late by is what every handler waits besides its own work.

t ─ set for t + 0.5 s ─▶ called at t' ─▶ lag = t' − (t + 0.5 s) ─▶ histogram
"""

from __future__ import annotations

import asyncio

from gym_core.counts import Histogram

EVERY_S = 0.5
"""Two wake-ups a second: nothing in comparison with one request."""


class LoopLag:
    """Observes the lag of a loop (the running one) from `start` to `stop`."""

    def __init__(self, lag: Histogram, every_s: float = EVERY_S) -> None:
        self._lag = lag
        self._every_s = every_s
        self._timer: asyncio.TimerHandle | None = None

    def start(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._set(loop or asyncio.get_running_loop())

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self, loop: asyncio.AbstractEventLoop) -> None:
        due = loop.time() + self._every_s
        self._timer = loop.call_at(due, self._called, loop, due)

    def _called(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._lag.observe(max(0.0, loop.time() - due))
        self._set(loop)
