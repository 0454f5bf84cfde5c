"""What the engines of all replicas count, added up: in the router's `/metrics` they read like one engine.

counters   what ended processes had counted, as last read, stays in the sum: it never falls, so rates over it hold
gauges     of those that are up
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from gym_core.errors import PalaestraError
from policy_server.replicas.pool import Pool, Process, Replica, unless_gone

PREFIX = "palaestra_policy_"
"""Of an engine's own metrics, which have no labels. Those of its door are about the router's requests again."""

WITHIN_S = 2.0


class EngineMetrics(Collector):
    """`read` asks the replicas, then a registry collects the sums."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._last: dict[int, tuple[Process, list[Metric]]] = {}
        self._ended: dict[str, float] = {}

    async def read(self) -> None:
        """Ask all that are up at once; for one that does not answer in time its last answer stands."""
        await asyncio.gather(*(self._ask(replica) for replica in self._pool.replicas if replica.up))

    async def _ask(self, replica: Replica) -> None:
        process = replica.process
        try:
            reply = await unless_gone(replica, replica.asked().get("/metrics", timeout_s=WITHIN_S))
        except PalaestraError:
            return  # the pool finds out what is wrong with it, and says so
        if process is None or replica.process is not process:
            return
        told = [each for each in text_string_to_metric_families(reply.text) if each.name.startswith(PREFIX)]
        before, families = self._last.get(replica.number, (process, []))
        if before is not process:
            for family in families:
                if family.type == "counter":
                    self._ended[family.name] = self._ended.get(family.name, 0.0) + _value(family)
        self._last[replica.number] = process, told

    def collect(self) -> Iterator[Metric]:
        counted, now, about = dict(self._ended), dict[str, float](), dict[str, str]()
        for number, (process, families) in self._last.items():
            replica = self._pool.replicas[number]
            serves = replica.up and replica.process is process
            for family in families:
                sums = counted if family.type == "counter" else now
                value = _value(family) if serves or sums is counted else 0.0
                sums[family.name] = sums.get(family.name, 0.0) + value
                about[family.name] = f"{family.documentation}, of all replicas"
        for name, value in counted.items():
            yield CounterMetricFamily(name, about.get(name, ""), value)
        for name, value in now.items():
            yield GaugeMetricFamily(name, about[name], value)


def _value(family: Metric) -> float:
    return float(sum(sample.value for sample in family.samples))
