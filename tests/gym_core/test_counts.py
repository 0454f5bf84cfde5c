"""Counts in plain numbers say what Prometheus' own would say."""

from __future__ import annotations

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from gym_core.counts import Counter, Gauge, Histogram
from gym_core.telemetry import BUCKETS, Metrics

LABELS = ("route", "status")


def told(*metrics: Counter | Gauge | Histogram) -> list[str]:
    registry = CollectorRegistry()
    for metric in metrics:
        registry.register(metric)
    return generate_latest(registry).decode().splitlines()


def test_a_counter_is_told_by_its_labels() -> None:
    counter = Counter("palaestra_requests", "Requests", LABELS)
    counter.labels("/run", "200").inc()
    counter.labels("/run", "200").inc(2)
    counter.labels("/x", "500").inc(0.5)
    assert told(counter) == [
        "# HELP palaestra_requests_total Requests",
        "# TYPE palaestra_requests_total counter",
        'palaestra_requests_total{route="/run",status="200"} 3.0',
        'palaestra_requests_total{route="/x",status="500"} 0.5',
    ]


def test_without_labels_a_metric_is_there_from_the_start() -> None:
    counter, gauge = Counter("palaestra_cost", "Cost"), Gauge("palaestra_running", "Running")
    assert told(counter)[-1] == "palaestra_cost_total 0.0"
    counter.inc(3)
    gauge.set(5)
    gauge.inc(2)
    gauge.dec()
    assert told(counter, gauge)[2::3] == ["palaestra_cost_total 3.0", "palaestra_running 6.0"]


def test_a_gauge_asks_whom_it_was_told_to_ask() -> None:
    gauge = Gauge("palaestra_open", "Open", ("environment",))
    held = [1, 2, 3]
    gauge.labels("math").set_function(held.__len__)
    held.pop()
    assert told(gauge)[-1] == 'palaestra_open{environment="math"} 2.0'


@given(st.lists(st.floats(0, 400) | st.sampled_from(BUCKETS), max_size=30))
def test_a_histogram_sorts_as_the_librarys_does(values: list[float]) -> None:
    ours, registry = Histogram("palaestra_seconds", "Seconds", (), BUCKETS), CollectorRegistry()
    theirs = prometheus_client.Histogram("palaestra_seconds", "Seconds", buckets=BUCKETS, registry=registry)
    for value in values:
        ours.observe(value)
        theirs.observe(value)
    said = [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]
    assert told(ours) == said


@pytest.mark.parametrize("values", [(), ("/run",), ("/run", "200", "x")])
def test_a_wrong_number_of_labels_is_refused(values: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="palaestra_requests has the labels"):
        Counter("palaestra_requests", "Requests", LABELS).labels(*values)


def test_a_name_that_is_taken_is_refused() -> None:
    metrics = Metrics("a")
    metrics.counter("palaestra_rollouts", "Rollouts")
    with pytest.raises(ValueError, match="Duplicated"):
        metrics.counter("palaestra_rollouts", "Rollouts again")
