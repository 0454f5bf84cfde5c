"""Every layout gives the loss, gradients, step and checkpoint of one process (gloo, fp64)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from itertools import product
from typing import Any

import pytest

from model.parallel.layout import Layout

Played = dict[str, Any]
Play = Callable[..., list[dict[str, Any]]]
TWO = (Layout(dp=2, ep=2), Layout(tp=2), Layout(cp=2))
FOUR = (Layout(dp=4, ep=2), Layout(tp=4), Layout(cp=4, ep=4), Layout(cp=2, tp=2, ep=2))


def gathered(play: Play, layouts: tuple[Layout, ...], deadline_s: float = 120.0) -> Played:
    """What every rank found, by layout."""
    ranks = play(layouts[0].world, "scenes", [asdict(layout) for layout in layouts], deadline_s=deadline_s)
    return {name: [rank[name] for rank in ranks] for name in ranks[0]}


@pytest.fixture(scope="module")
def two(play: Play) -> Played:
    return gathered(play, TWO)


@pytest.fixture(scope="module")
def four(play: Play) -> Played:
    return gathered(play, FOUR)


def check(ranks: list[dict[str, Any]]) -> None:
    first = ranks[0]
    for rank in ranks:
        assert rank["loss"] <= 1e-9
        assert rank["norm"] <= 1e-9
        assert rank["repeats"], "a second run, with recomputation, has other gradients"
        assert rank["loads"], "a saved checkpoint loads to other numbers"
    assert first["gradients"] <= 1e-9, first["furthest"]
    assert first["parameters"] <= 1e-9
    assert first["biases"]
    assert first["files"], "the files are not those that one process writes"


@pytest.mark.parametrize("layout", TWO, ids=str)
def test_two_processes_equal_one(two: Played, layout: Layout) -> None:
    check(two[str(layout)])


@pytest.mark.parametrize("layout", FOUR, ids=str)
def test_four_processes_equal_one(four: Played, layout: Layout) -> None:
    check(four[str(layout)])


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 4])
def test_every_layout_equals_one_process(play: Play, world: int) -> None:
    layouts = tuple(
        Layout(dp, ep, tp, cp)
        for dp, ep, tp, cp in product((1, 2, 4), repeat=4)
        if dp * tp * cp == world and dp * cp % ep == 0
    )
    for ranks in gathered(play, layouts, deadline_s=540).values():
        check(ranks)
