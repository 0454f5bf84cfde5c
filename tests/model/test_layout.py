"""Index maps: every token has exactly one place, pads belong to their own sequence, waste is bounded."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.layout import PackedLayout, RowMap

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=9)


def layout_of(lengths: list[int], chunk_size: int = 8) -> PackedLayout:
    return PackedLayout(torch.tensor([0, *lengths]).cumsum(0), chunk_size, conv_kernel=4)


def check_map(row_map: RowMap, total: int) -> None:
    assert torch.equal(row_map.rows[row_map.slots], torch.arange(total))
    used = torch.cat((row_map.slots, row_map.pads))
    assert torch.equal(used.sort().values, torch.arange(len(row_map.rows)))


@given(lengths=LENGTHS, chunk_size=st.sampled_from([1, 3, 8, 64]))
def test_chunks(lengths: list[int], chunk_size: int) -> None:
    chunks = layout_of(lengths, chunk_size).chunks
    check_map(chunks.map, sum(lengths))
    counts = [-(-length // chunk_size) for length in lengths]
    assert chunks.num_chunks == sum(counts) == sum(count for _, count in chunks.steps)
    owner = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    rows = chunks.map.rows.view(-1, chunk_size)
    for step, (first, count) in enumerate(chunks.steps):
        for rank in range(count):
            sequence = int(chunks.rank_to_sequence[rank])
            assert (owner[rows[first + rank]] == sequence).all()
            assert rows[first + rank, 0] == sum(lengths[:sequence]) + step * chunk_size
    for sequence, last in enumerate(chunks.last_chunk.tolist()):
        assert sum(lengths[: sequence + 1]) - 1 in rows[last]


@given(lengths=LENGTHS)
def test_padded(lengths: list[int]) -> None:
    row_map, buckets = layout_of(lengths).padded
    check_map(row_map, sum(lengths))
    assert len(row_map.rows) <= 2 * sum(lengths)
    assert sorted(torch.cat([bucket.sequences for bucket in buckets]).tolist()) == list(range(len(lengths)))
    for bucket in buckets:
        for place, sequence in enumerate(bucket.sequences.tolist()):
            start = bucket.offset + place * bucket.length
            first = sum(lengths[:sequence])
            expected = torch.arange(bucket.length).clamp(max=lengths[sequence] - 1) + first
            assert torch.equal(row_map.rows[start : start + bucket.length], expected)


def test_spread_and_collect_are_inverse_in_values_and_gradients() -> None:
    row_map, _ = layout_of([3, 9, 1]).padded
    x = torch.randn(13, 2, dtype=torch.float64, requires_grad=True)
    assert torch.equal(row_map.collect(row_map.spread(x)), x)
    assert torch.autograd.gradcheck(lambda x: row_map.collect(row_map.spread(x) * 2), (x,))


def test_equal_lengths_need_no_copy() -> None:
    layout = layout_of([8, 8, 8], chunk_size=8)
    x = torch.randn(24, 2)
    assert layout.padded[0].spread(x) is x and layout.chunks.map.spread(x) is x


def test_edges_worked_by_hand() -> None:
    edges = layout_of([2, 5]).edges
    assert [rows.tolist() for rows in edges.at_position] == [[0, 2], [1, 3], [4]]
    assert edges.head_targets.tolist() == [0, 1, 2, 3, 4] and edges.head_pairs.tolist() == [0, 1, 3, 4, 5]
    assert edges.tail_rows.tolist() == [[0, 0, 1], [4, 5, 6]]
    assert edges.tail_from_state.tolist() == [[2, -1, -1], [-1, -1, -1]]


@pytest.mark.parametrize("bounds", [[0], [1, 4], [0, 3, 3], [0, 5, 2]])
def test_impossible_bounds(bounds: list[int]) -> None:
    with pytest.raises(ValueError, match="cu_seqlens must be"):
        PackedLayout(torch.tensor(bounds), 8, 4)


def test_bounds_must_cover_the_tokens() -> None:
    with pytest.raises(ValueError, match="ends at 5 but 6 tokens"):
        PackedLayout(torch.tensor([0, 5]), 8, 4, num_tokens=6)
