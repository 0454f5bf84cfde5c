import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.pack import Sample, first_fit_decreasing, pack


def sample(ids: list[int], mask: list[int], advantage: float = 0.0) -> Sample:
    trained = np.asarray(mask, bool)
    logprobs = np.where(trained, -0.01 * np.asarray(ids), 0.0).astype(np.float32)
    return Sample(np.asarray(ids, np.int32), trained, logprobs, advantage)


SAMPLES = st.lists(
    st.lists(st.tuples(st.integers(0, 99), st.integers(0, 1)), min_size=1, max_size=9).map(
        lambda rows: sample([i for i, _ in rows], [0, *(m for _, m in rows[1:])], len(rows))
    ),
    min_size=1,
    max_size=12,
)


def test_first_fit_decreasing_by_hand() -> None:
    # 7 opens a bin of 10; 6 opens the second; 3 fills the first; 3 and 1 the second
    assert first_fit_decreasing([3, 7, 1, 6, 3], 10) == [[1, 0], [3, 4, 2]]


def test_an_item_over_the_budget_stands_alone() -> None:
    assert first_fit_decreasing([12, 2], 10) == [[0], [1]]


def test_hidden_state_before_a_token_predicts_it() -> None:
    (batch,) = pack([sample([10, 11, 12, 13], [0, 0, 1, 1], 1.5), sample([20, 21, 22], [0, 1, 0], -1.0)], 100)
    assert batch.token_ids.tolist() == [10, 11, 12, 13, 20, 21, 22]
    assert batch.cu_seqlens.tolist() == [0, 4, 7]
    assert batch.rows.tolist() == [1, 2, 4]
    assert batch.targets.tolist() == [12, 13, 21]
    assert batch.token_ids[batch.rows + 1].tolist() == batch.targets.tolist()
    assert batch.gen_logprobs.tolist() == pytest.approx([-0.12, -0.13, -0.21])
    assert batch.advantages.tolist() == [1.5, 1.5, -1.0]
    assert batch.sequence.tolist() == [0, 0, 1]


def test_no_row_looks_into_another_sample() -> None:
    (batch,) = pack([sample([1, 2], [0, 1]), sample([3, 4], [0, 1])], 100)
    assert batch.rows.tolist() == [0, 2]


def test_a_trained_first_token_is_refused() -> None:
    with pytest.raises(ValueError, match="first token"):
        sample([1, 2], [1, 1])


def test_arrays_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in length"):
        Sample(np.zeros(3, np.int32), np.zeros(2, bool), np.zeros(3, np.float32))


@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 60))
def test_every_item_once_within_budget_and_never_two_half_empty_bins(lengths: list[int], budget: int) -> None:
    bins = first_fit_decreasing(lengths, budget)
    assert sorted(index for items in bins for index in items) == list(range(len(lengths)))
    loads = [sum(lengths[i] for i in items) for items in bins]
    assert all(load <= budget or len(items) == 1 for load, items in zip(loads, bins, strict=True))
    assert sum(2 * load <= budget for load in loads) <= 1


@given(SAMPLES, st.integers(1, 40))
def test_the_way_back_restores_every_sample(samples: list[Sample], budget: int) -> None:
    seen = {}
    for batch in pack(samples, budget, torch.float32):
        assert batch.cu_seqlens[-1] == len(batch.token_ids)
        assert len(batch.rows) == len(batch.targets) == len(batch.advantages) == len(batch.sequence)
        seen.update(batch.unpack(batch.gen_logprobs, samples))
    assert sorted(seen) == list(range(len(samples)))
    for index, values in seen.items():
        np.testing.assert_array_equal(values, samples[index].logprobs)
