import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.mismatch import Mismatch, MismatchExceeded, importance_weights

LOGPROBS = st.lists(st.tuples(st.floats(-8, 0), st.floats(-8, 0)), min_size=1, max_size=20)


def counted(train: list[float], gen: list[float]) -> Mismatch:
    old, sampled = torch.tensor(train).double(), torch.tensor(gen).double()
    mismatch = Mismatch()
    mismatch.add(old, sampled, importance_weights(old, sampled, 0.2, 5.0))
    return mismatch


def test_numbers_by_hand() -> None:
    # train is twice as likely on one token, half as likely on another: both are off by a factor of 2
    log2 = math.log(2)
    mismatch = counted([-1.0 + log2, -1.0 - log2, -1.0, -1.0], [-1.0] * 4)
    assert mismatch.token_mult_prob_error == pytest.approx((2 + 2 + 1 + 1) / 4)
    assert mismatch.gen_kl_error == pytest.approx(((2 - 1 - log2) + (0.5 - 1 + log2)) / 4)
    assert mismatch.weight_sum == pytest.approx(2 + 0.5 + 1 + 1)
    assert mismatch.abs_max == pytest.approx(log2)
    assert (mismatch.num_tokens, mismatch.num_masked) == (4, 0)


def test_weights_outside_the_bounds_are_zero_not_cut() -> None:
    old = torch.log(torch.tensor([0.5, 0.1, 5.5, 4.9, 0.2]).double())
    weights = importance_weights(old, torch.zeros(5).double(), 0.2, 5.0)
    assert weights.tolist() == pytest.approx([0.5, 0.0, 0.0, 4.9, 0.2])


def test_weights_carry_no_gradient() -> None:
    old = torch.zeros(1, requires_grad=True)
    assert not importance_weights(old, torch.zeros(1), 0.2, 5.0).requires_grad


def test_a_weight_that_is_not_a_number_is_masked_and_fails_the_gate() -> None:
    mismatch = counted([math.nan, -1.0], [-1.0, -1.0])
    assert mismatch.num_masked == 1
    with pytest.raises(MismatchExceeded):
        mismatch.check(1e9)


def test_the_gate_names_number_and_limit() -> None:
    with pytest.raises(MismatchExceeded, match=r"2.*gate is 1\.001") as caught:
        counted([-1.0 + math.log(2)], [-1.0]).check(1.001)
    assert caught.value.field == "grpo.mismatch_gate"
    assert caught.value.code == "mismatch_exceeded"


def test_agreement_passes() -> None:
    counted([-1.0, -2.0], [-1.0, -2.0]).check(1.0)
    Mismatch().check(1.001)


@given(LOGPROBS)
def test_both_measures_are_at_least_their_value_at_agreement(pairs: list[tuple[float, float]]) -> None:
    mismatch = counted([a for a, _ in pairs], [b for _, b in pairs])
    assert mismatch.token_mult_prob_error >= 1.0
    assert mismatch.gen_kl_error >= -1e-12


@given(LOGPROBS, st.integers(0, 20))
def test_counting_in_parts_is_counting_at_once(pairs: list[tuple[float, float]], cut: int) -> None:
    parts = Mismatch()
    for part in (pairs[:cut], pairs[cut:]):
        old, gen = (torch.tensor([p[i] for p in part]).double() for i in (0, 1))
        parts.add(old, gen, importance_weights(old, gen, 0.2, 5.0))
    whole = counted([a for a, _ in pairs], [b for _, b in pairs])
    assert parts.token_mult_prob_error == pytest.approx(whole.token_mult_prob_error)
    assert parts.num_masked == whole.num_masked
