"""What a layout is, and which models it can divide."""

from __future__ import annotations

from dataclasses import replace

import pytest

from model.config import HybridConfig
from model.parallel.layout import Layout


def test_experts_take_no_processes_of_their_own() -> None:
    layout = Layout(dp=8, ep=8, tp=2, cp=4)
    assert (layout.world, layout.token_ranks, layout.edp) == (64, 32, 4)
    assert str(layout) == "dp8-ep8-tp2-cp4"
    assert str(Layout()) == "single"


def test_expert_ranks_must_divide_token_ranks() -> None:
    with pytest.raises(ValueError, match=r"ep 4 must divide dp x cp = 6"):
        Layout(dp=3, cp=2, ep=4)


@pytest.mark.parametrize("value", [0, -1, 1.5, "2"])
def test_an_axis_is_a_positive_integer(value: object) -> None:
    with pytest.raises(ValueError, match="tp must be a positive integer"):
        Layout(tp=value)  # type: ignore[arg-type]  # what a configuration file may hold


def test_every_dimension_that_does_not_divide_is_named() -> None:
    config = replace(HybridConfig.nano(), n_routed_experts=126, n_groups=4, moe_intermediate_size=1852)
    with pytest.raises(ValueError) as caught:
        Layout(dp=8, ep=8, tp=8).require(config)
    for part in ("ep 8 does not divide n_routed_experts 126", "n_groups 4", "moe_intermediate_size 1852"):
        assert part in str(caught.value)


def test_key_value_heads_are_split_or_repeated_but_never_both() -> None:
    config = replace(
        HybridConfig.nano(), num_attention_heads=24, num_key_value_heads=6, mamba_num_heads=48, n_groups=24
    )
    for tp in (1, 2, 3, 6, 12):
        Layout(tp=tp).require(replace(config, moe_intermediate_size=24, moe_shared_expert_intermediate_size=24))
    with pytest.raises(ValueError, match="tp 4 neither divides num_key_value_heads 6 nor is a multiple"):
        Layout(tp=4).require(config)


@pytest.mark.parametrize("tp", [1, 2, 4, 8])
def test_nano_divides_by_what_its_groups_allow(tp: int) -> None:
    Layout(dp=8, ep=8, tp=tp, cp=4).require(HybridConfig.nano())
