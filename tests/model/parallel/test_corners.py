"""Beside the plain step: losses over sequences, mixed precision, starved experts, scoring, replay, refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Play = Callable[..., list[dict[str, Any]]]
Played = dict[str, Any]


@pytest.fixture(scope="module")
def two(play: Play) -> Played:
    ranks = play(2, "corners")
    return {name: [rank[name] for rank in ranks] for name in ranks[0]}


def test_a_loss_over_whole_sequences_counts_once(two: Played) -> None:
    assert two["whole"][0]["gradients"] <= 1e-9


def test_bf16_maths_on_fp32_parameters_is_the_bf16_model(two: Played) -> None:
    for rank in two["bf16"]:
        assert rank["logprobs"] == 0, "not the same operations on the same numbers"
        assert rank["dtypes"] == ["torch.float32"]


def test_processes_without_rows_and_frozen_gates_change_nothing_else(two: Played) -> None:
    gates = ["layers.1.mixer.gate.weight", "layers.4.mixer.gate.weight"]
    for rank in two["starved"]:
        assert rank["used"] == [2, 2], "the tokens were meant to use two experts only"
        assert rank["frozen"] == gates
        assert rank["gradients"] <= 1e-9


def test_scoring_gives_the_numbers_of_training_and_counts_nothing(two: Played) -> None:
    for rank in two["scoring"]:
        assert rank["apart"] <= 1e-12
        assert rank["same_counts"]


def test_recorded_experts_are_replayed_in_a_layout(two: Played) -> None:
    assert max(two["replayed"]) <= 1e-12


def test_a_layout_that_does_not_fit_says_what_would(two: Played) -> None:
    for said in two["refusals"]:
        processes, model, batch = said
        assert processes == "layout dp3 is for 3 processes, 2 were started"
        assert "tp 2 does not divide n_groups 1" in model
        assert "cu_seqlens ends at 2, token_ids are (3,)" in batch


def test_experts_that_do_not_divide_are_cut_along_their_units(two: Played) -> None:
    for rank in two["odd"]:
        assert (rank["placements"], rank["held"]) == ("(Shard(dim=1),)", [7, 4, 16])
        assert rank["gradients"] <= 1e-9


def test_what_one_layout_saves_another_loads(two: Played) -> None:
    assert two["crossed"] == [True, True]
