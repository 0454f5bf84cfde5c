"""Where stretches cut sequences, worked by hand: sequences of 3, 7 and 5 tokens over 3 processes of 5 each.

rows       0 1 2 | 3 4 5 6 7 8 9 | 10 11 12 13 14
stretches  0 0 0   0 0 1 1 1 1 1   2  2  2  2  2
"""

from __future__ import annotations

import pytest
import torch

from model.parallel.context_layout import ContextLayout
from model.parallel.ranks import Peers


def stretch(rank: int, bounds: tuple[int, ...] = (0, 3, 10, 15), cp: int = 3) -> ContextLayout:
    return ContextLayout(torch.tensor(bounds), 4, 3, Peers(cp, rank), torch.device("cpu"))


def test_pieces_are_what_a_stretch_has_of_each_sequence() -> None:
    assert [stretch(rank).lengths.tolist() for rank in range(3)] == [[3, 2], [5], [5]]
    assert [stretch(rank).before for rank in range(3)] == [0, 2, 0]
    assert [stretch(rank).rows for rank in range(3)] == [slice(0, 5), slice(5, 10), slice(10, 15)]
    assert stretch(0).passes_on == [False, True, False]


def test_the_pieces_after_the_first_are_a_batch_of_their_own() -> None:
    rest = stretch(0).after_first
    assert rest is not None
    assert rest.lengths.tolist() == [2]
    assert stretch(1).after_first is None


def test_states_are_passed_on_inside_one_sequence_only() -> None:
    """One sequence over stretches 1, 2, 3 of 4, another in 0: H_3 = d_2 (d_1 * nothing + s_1) + s_2."""
    bounds, states, decays = (0, 5, 20), torch.tensor([100.0, 3.0, 5.0, 7.0]), torch.tensor([0.9, 0.8, 0.5, 0.1])
    assert stretch(3, bounds, 4).before == 10
    assert stretch(3, bounds, 4).passes_on == [False, False, True, True]
    assert float(stretch(3, bounds, 4).incoming(states, decays)) == 0.5 * 3 + 5
    assert float(stretch(2, bounds, 4).incoming(states, decays)) == 3


def test_sizes_differ_by_one_where_tokens_do_not_come_out_even() -> None:
    assert stretch(0, (0, 11)).sizes == [4, 4, 3]


def test_a_batch_too_short_to_cut_is_refused() -> None:
    with pytest.raises(ValueError, match="5 tokens cannot be cut into 3 stretches of at least conv_kernel - 1 = 2"):
        stretch(0, (0, 5))


@pytest.mark.parametrize("bounds", [(0, 5, 5, 15), (1, 15), (0, 9, 7, 15)])
def test_borders_that_describe_no_batch_are_refused(bounds: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="cu_seqlens must be"):
        stretch(0, bounds)
