"""The soak: its line through the memory by hand, and a short run of the whole of it."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).resolve().parents[2] / "bench" / "soak.py"


@pytest.fixture(scope="module")
def soak() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_soak", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_soak"] = module
    spec.loader.exec_module(module)
    return module


def options(**changed: float) -> argparse.Namespace:
    given = {"minutes": 1.0, "clients": 4, "every": 0.0, "bound": 30.0, "slack": 4.0, "seed": 0}
    return argparse.Namespace(**{**given, **changed})


def growing(mb_per_minute: float) -> list[tuple[float, float]]:
    """Memory that jumps in the first quarter, which is not counted, and then grows evenly for an hour."""
    return [(0.0, 50.0), *((60.0 * minute, 300.0 + mb_per_minute * minute) for minute in range(15, 61))]


def test_the_slope_by_hand(soak: ModuleType) -> None:
    per_hour, grown = soak.slope_of([(0.0, 10.0), (1800.0, 12.0), (3600.0, 14.0)])
    assert (per_hour, grown) == (pytest.approx(4.0), pytest.approx(4.0))


@pytest.mark.parametrize(
    ("mb_per_minute", "counts", "left", "steady"),
    [
        (0.0, {"stream": 9}, {"running": 0.0}, True),
        (0.4, {"stream": 9}, {"running": 0.0}, True),
        (1.0, {"stream": 9}, {"running": 0.0}, False),
        (0.0, {"stream": 9, "failed: tools: no": 1}, {"running": 0.0}, False),
        (0.0, {"stream": 9}, {"running": 1.0}, False),
    ],
)
def test_what_counts_as_steady(
    soak: ModuleType, mb_per_minute: float, counts: dict[str, int], left: dict[str, float], steady: bool
) -> None:
    result = soak.verdict(growing(mb_per_minute), Counter(counts), left, options())
    assert result["steady"] is steady
    assert result["settled_mb"] == pytest.approx(300 + 15 * mb_per_minute)


def test_a_steep_line_over_a_short_time_is_within_the_slack(soak: ModuleType) -> None:
    samples = [(float(second), 300.0 + second / 60) for second in range(60)]
    result = soak.verdict(samples, Counter({"stream": 1}), {}, options())
    assert result["mb_per_hour"] == pytest.approx(60) and result["steady"]


async def test_a_short_one_leaves_nothing_behind(soak: ModuleType) -> None:
    result = await soak.soak(options(minutes=0.05, slack=64.0))
    assert result["steady"], result["counts"]
    assert not any(result["left"].values()) and result["counts"]["weights"] >= 1
