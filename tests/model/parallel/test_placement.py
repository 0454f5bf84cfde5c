"""Parts of all processes make up every parameter, each number counted once."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.config import HybridConfig
from model.parallel.layout import Layout
from model.parallel.placement import placement, share
from model.stack import HybridModel

CONFIG = HybridConfig.tiny(
    97,
    hidden_size=16,
    mamba_num_heads=8,
    mamba_head_dim=4,
    n_groups=4,
    ssm_state_size=8,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    moe_intermediate_size=8,
    moe_shared_expert_intermediate_size=16,
)


@given(st.integers(0, 500), st.integers(1, 40))
def test_shares_follow_one_another_and_differ_by_one_at_most(size: int, parts: int) -> None:
    shares = [share(size, parts, index) for index in range(parts)]
    assert [first for first, _ in shares] == [0, *(last for _, last in shares[:-1])]
    assert shares[-1][1] == size
    lengths = [last - first for first, last in shares]
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("layout", [Layout(tp=2), Layout(tp=4), Layout(dp=4, ep=4), Layout(dp=2, ep=2, tp=4)], ids=str)
def test_parts_cover_each_parameter_once(layout: Layout) -> None:
    for name, parameter in HybridModel(CONFIG, device="meta").named_parameters():
        full = torch.randn(parameter.shape)
        again, counted = torch.full_like(full, float("nan")), torch.zeros(full.shape, dtype=torch.float64)
        for ep_rank in range(layout.ep if ".experts." in name else 1):
            for tp_rank in range(layout.tp):
                held = placement(name, CONFIG, layout, tp_rank, ep_rank)
                part = held.take(full)
                assert part.shape == held.shape(full.shape)
                held.put(again, part)
                ones = torch.zeros_like(counted)
                held.put(
                    ones,
                    held.share_of_norm(len(part), full.device).view(-1, *[1] * (full.dim() - 1)).expand(part.shape),
                )
                counted += ones
        assert torch.equal(again, full), name
        assert torch.equal(counted, torch.ones_like(counted)), name


def test_joined_rows_are_cut_inside_their_blocks() -> None:
    """in_proj: z 32 | x 32 | B 32 | C 32 | dt 8 rows; process 1 of 4 holds the second quarter of each."""
    held = placement("layers.0.mixer.in_proj.weight", CONFIG, Layout(tp=4), 1, 0)
    rows = held.take(torch.arange(136.0)[:, None])[:, 0].tolist()
    assert rows == [*range(8, 16), *range(40, 48), *range(72, 80), *range(104, 112), 130, 131]


def test_key_value_heads_are_repeated_where_processes_outnumber_them() -> None:
    """4 query heads, 2 key heads, 4 processes: heads 0 and 1 read key head 0, which processes 0 and 1 both hold."""
    rows = [
        placement("layers.3.mixer.qkv_proj.weight", CONFIG, Layout(tp=4), rank, 0).cuts[0].runs for rank in range(4)
    ]
    assert [[(run.first // 8, run.copies) for run in runs] for runs in rows] == [
        [(0, 1), (4, 2), (6, 2)],
        [(1, 1), (4, 2), (6, 2)],
        [(2, 1), (5, 2), (7, 2)],
        [(3, 1), (5, 2), (7, 2)],
    ]


def test_what_is_the_same_everywhere_counts_once() -> None:
    for name in ("norm_f.weight", "layers.1.norm.weight", "layers.1.mixer.gate.weight"):
        held = placement(name, CONFIG, Layout(tp=4), 2, 0)
        assert not held.cuts
        assert held.share_of_norm(3, torch.device("cpu")).tolist() == [0.25] * 3
