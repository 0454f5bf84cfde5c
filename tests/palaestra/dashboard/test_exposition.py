"""Prometheus' text read back, and rates and quantiles by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gym_core.telemetry import Metrics
from palaestra.dashboard.exposition import Between, quantile, read


def test_what_our_servers_write_is_read_back() -> None:
    metrics = Metrics("a")
    metrics.counter("palaestra_rollouts", "x", ("outcome",)).labels('sco"red\\ \n').inc(2)
    samples = read(metrics.text().decode())
    assert samples["palaestra_rollouts_total"] == {(("outcome", 'sco"red\\ \n'),): 2.0}
    assert samples["process_start_time_seconds"][()] > 1e9


def test_lines_that_are_none_are_left_out() -> None:
    assert read('# HELP x y\nx 1\nx{a="b"} NaN\nnonsense\ny one\n\nz{a="1",b="2"} +Inf 123') == {
        "x": {(): 1.0, (("a", "b"),): pytest.approx(math.nan, nan_ok=True)},
        "z": {(("a", "1"), ("b", "2")): math.inf},
    }


def test_rates_are_between_two_readings() -> None:
    before, now = read('c_total{k="a"} 10\nc_total{k="b"} 5'), read('c_total{k="a"} 16\nc_total{k="b"} 2')
    between = Between(now, before, 2.0)
    # b was begun anew: its 2 are new
    assert between.increase("c_total") == {(("k", "a"),): 6.0, (("k", "b"),): 2.0}
    assert between.rate("c_total") == 4.0
    assert Between(now, None, 2.0).rate("c_total") == 9.0


def test_a_histogram_between_two_readings() -> None:
    before = read('h_bucket{le="1"} 5\nh_bucket{le="2"} 5\nh_bucket{le="+Inf"} 5\nh_sum 2\nh_count 5')
    now = read('h_bucket{le="1"} 7\nh_bucket{le="2"} 9\nh_bucket{le="+Inf"} 9\nh_sum 7\nh_count 9')
    ((labels, latency),) = Between(now, before, 1.0).latencies("h")
    # four new ones: two up to 1 s, two from 1 to 2 s
    assert labels == () and (latency.num, latency.mean_s, latency.p50_s, latency.p99_s) == (4, 1.25, 1.0, 1.98)
    assert list(Between(now, now, 1.0).latencies("h")) == []


def test_quantiles_by_hand() -> None:
    edges = [(1.0, 2.0), (2.0, 4.0), (math.inf, 5.0)]
    assert quantile(edges, 0.4) == 1.0  # the second of five lies at the end of the first bucket
    assert quantile(edges, 0.6) == 1.5  # the third is half-way through the second
    assert quantile(edges, 1.0) == 2.0  # beyond the last finite edge nothing is known
    assert quantile([], 0.5) == quantile([(1.0, 0.0)], 0.5) == 0.0


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 400), min_size=1, max_size=30), st.floats(0.01, 1))
def test_a_quantile_lies_in_the_bucket_of_the_observation(values: list[float], share: float) -> None:
    bounds = [0.1, 1.0, 10.0, 100.0, math.inf]
    edges = [(bound, float(sum(value <= bound for value in values))) for bound in bounds]
    exact = sorted(values)[math.ceil(share * len(values) - 1e-9) - 1]
    above = next(bound for bound in bounds if exact <= bound)
    found = quantile(edges, share)
    assert found <= (100.0 if math.isinf(above) else above) + 1e-9


@settings(deadline=None, max_examples=50)
@given(st.text())
def test_no_text_breaks_the_reader(text: str) -> None:
    assert isinstance(read(text), dict)
