"""The lag of an event loop is what its timers are late by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Histogram

from gym_core.loop_lag import LoopLag


class Loop:
    """The two methods of a loop that are used, on a clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 10.0
        self.timers: list[tuple[float, Callable[..., None], tuple[Any, ...]]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, due: float, function: Callable[..., None], *args: Any) -> None:
        self.timers.append((due, function, args))


def test_what_a_timer_is_late_by_is_observed() -> None:
    registry = CollectorRegistry()
    lag = LoopLag(Histogram("lag", "x", buckets=(0.01, 1.0), registry=registry), every_s=0.5)
    loop: Any = Loop()
    lag.start(loop)
    for late in (0.0, 0.25):
        due, function, args = loop.timers[-1]
        loop.now = due + late
        function(*args)
    assert registry.get_sample_value("lag_count") == 2
    assert registry.get_sample_value("lag_sum") == 0.25
    assert registry.get_sample_value("lag_bucket", {"le": "0.01"}) == 1
    assert [due for due, _, _ in loop.timers] == [10.5, 11.0, 11.75]


async def test_a_stopped_one_is_silent() -> None:
    registry = CollectorRegistry()
    lag = LoopLag(Histogram("lag", "x", registry=registry))
    lag.start()
    lag.stop()
    lag.stop()
    assert registry.get_sample_value("lag_count") == 0
