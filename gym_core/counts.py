"""Counters, gauges and histograms as plain numbers, made into Prometheus' families only when somebody reads them.

    inc ─▶ value += amount              observe ─▶ counts[first bound not below] += 1, total += seconds

The library's own take a lock and check a state each time, some thirty times a rollout. Ours are counted on the event
loop, where nobody else is. They are used as the library's are, and stand in its registries.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Generic, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class Number:
    """A value that goes up and down, or that somebody is asked for."""

    __slots__ = ("_read", "value")

    def __init__(self) -> None:
        self.value = 0.0
        self._read: Callable[[], float] | None = None

    def inc(self, amount: float = 1.0) -> None:
        self.value += amount

    def dec(self, amount: float = 1.0) -> None:
        self.value -= amount

    def set(self, value: float) -> None:
        self.value = value

    def set_function(self, read: Callable[[], float]) -> None:
        """Take the value from `read` whenever somebody asks for it."""
        self._read = read

    def now(self) -> float:
        return float(self.value if self._read is None else self._read())


class Spread:
    """How many values fell under which bound and no lower one, and their sum. The last bound is infinite."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * len(bounds)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value


C = TypeVar("C", Number, Spread)


class _Metric(Collector, Generic[C]):
    """One metric: a child for each combination of its labels' values; without labels there is one, from the start."""

    def __init__(self, name: str, help_text: str, labels: tuple[str, ...] = ()) -> None:
        self._name, self._help, self._labels = name, help_text, labels
        self._children: dict[tuple[str, ...], C] = {}
        if not labels:
            self.labels()

    def labels(self, *values: str) -> C:
        """The child with these values, in the order of the labels. Raises ValueError for too few or too many."""
        found = self._children.get(values)
        if found is None:
            if len(values) != len(self._labels):
                raise ValueError(f"{self._name} has the labels {self._labels}, unlike {values}")
            found = self._children[values] = self._child()
        return found

    def describe(self) -> list[Metric]:
        """The family without values: by it a registry knows that the name is taken."""
        return [self._empty()]

    def _child(self) -> C:
        raise NotImplementedError

    def _empty(self) -> Metric:
        raise NotImplementedError


class _Numbers(_Metric[Number]):
    _kind: type[CounterMetricFamily] | type[GaugeMetricFamily]

    def _child(self) -> Number:
        return Number()

    def _empty(self) -> CounterMetricFamily | GaugeMetricFamily:
        return self._kind(self._name, self._help, labels=self._labels)

    def collect(self) -> Iterator[Metric]:
        family = self._empty()
        for values, child in list(self._children.items()):
            family.add_metric(values, child.now())
        yield family

    def inc(self, amount: float = 1.0) -> None:
        """Count where there are no labels."""
        self.labels().inc(amount)


class Counter(_Numbers):
    """A count, which only goes up."""

    _kind = CounterMetricFamily


class Gauge(_Numbers):
    """A value of now."""

    _kind = GaugeMetricFamily

    def dec(self, amount: float = 1.0) -> None:
        self.labels().dec(amount)

    def set(self, value: float) -> None:
        self.labels().set(value)

    def set_function(self, read: Callable[[], float]) -> None:
        self.labels().set_function(read)


class Histogram(_Metric[Spread]):
    """Values sorted under upper bounds."""

    def __init__(self, name: str, help_text: str, labels: tuple[str, ...], bounds: Sequence[float]) -> None:
        self._bounds = (*bounds, float("inf"))
        self._told = [floatToGoString(bound) for bound in self._bounds]
        super().__init__(name, help_text, labels)

    def _child(self) -> Spread:
        return Spread(self._bounds)

    def _empty(self) -> HistogramMetricFamily:
        return HistogramMetricFamily(self._name, self._help, labels=self._labels)

    def observe(self, value: float) -> None:
        """Sort a value in where there are no labels."""
        self.labels().observe(value)

    def collect(self) -> Iterator[Metric]:
        family = self._empty()
        for values, child in list(self._children.items()):
            family.add_metric(values, list(zip(self._told, accumulate(child.counts), strict=True)), child.total)
        yield family
