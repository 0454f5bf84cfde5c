"""Numbers of several processes as one text: what adds up, what is each one's own, who said nothing."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from gym_core.fleet_metrics import together
from gym_core.telemetry import Metrics

AWKWARD = 'a"b\\c\nd # e'


def told(calls: float, open_: float, seconds: tuple[float, ...], label: str = "x") -> str:
    metrics = Metrics("test")
    metrics.counter("palaestra_calls", "Calls", ("what",)).labels(label).inc(calls)
    metrics.gauge("palaestra_open", "Open").set(open_)
    spent = metrics.histogram("palaestra_spent_seconds", "Seconds", buckets=(1.0, 2.0))
    for one in seconds:
        spent.observe(one)
    return metrics.text().decode()


def read(text: bytes) -> dict[tuple[Any, ...], float]:
    """Samples by name and labels, as Prometheus' own parser reads them."""
    families = list(text_string_to_metric_families(text.decode()))
    assert len({family.name for family in families}) == len(families)
    return {(one.name, *sorted(one.labels.items())): one.value for family in families for one in family.samples}


def test_counters_gauges_and_histograms_are_added_up() -> None:
    said = read(together({"w0": told(3, 2, (0.5, 1.5)), "w1": told(4, 5, (1.5, 9.0))}))
    assert said["palaestra_calls_total", ("what", "x")] == 7
    assert said[("palaestra_open",)] == 7
    assert said["palaestra_spent_seconds_bucket", ("le", "1.0")] == 1
    assert said["palaestra_spent_seconds_bucket", ("le", "2.0")] == 3
    assert said["palaestra_spent_seconds_bucket", ("le", "+Inf")] == said[("palaestra_spent_seconds_count",)] == 4
    assert said[("palaestra_spent_seconds_sum",)] == 12.5


def test_what_only_one_has_is_told_and_odd_labels_stay_as_they_are() -> None:
    said = read(together({"w0": told(1, 0, ()), "w1": told(2, 0, (), AWKWARD)}))
    assert said["palaestra_calls_total", ("what", "x")] == 1
    assert said["palaestra_calls_total", ("what", AWKWARD)] == 2


def test_each_process_tells_its_own_memory_and_when_it_began() -> None:
    said = read(together({"w0": told(1, 0, ()), "w1": told(1, 0, ())}))
    for name in ("process_resident_memory_bytes", "process_start_time_seconds", "process_cpu_seconds_total"):
        assert {key for key in said if key[0] == name} == {(name, ("process", "w0")), (name, ("process", "w1"))}


def test_one_that_says_nothing_is_named() -> None:
    said = read(together({"w0": told(1, 2, ()), "w1": None}))
    assert said[("palaestra_open",)] == 2
    assert (said["palaestra_process_up", ("process", "w0")], said["palaestra_process_up", ("process", "w1")]) == (1, 0)
