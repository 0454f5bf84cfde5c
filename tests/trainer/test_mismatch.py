import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.mismatch import ImportancePolicy, Mismatch, MismatchExceeded

LOGPROBS = st.lists(st.tuples(st.floats(-8, 0), st.floats(-8, 0)), min_size=1, max_size=20)


def weigh(policy: ImportancePolicy, old: torch.Tensor, gen: torch.Tensor, sequence: list[int]) -> torch.Tensor:
    return policy.weights(old, gen, torch.tensor(sequence, dtype=torch.int64), max(sequence, default=0) + 1)


def importance_weights(old: torch.Tensor, gen: torch.Tensor, low: float, high: float) -> torch.Tensor:
    return weigh(ImportancePolicy(low=low, high=high), old, gen, [0] * len(old))


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


# One sequence with weights 2 and 0.5, one with 1 and 4: means 1.25 and 2.5, geometric means 1 and 2, errors 2 and 2.5.
WEIGHTS = (2.0, 0.5, 1.0, 4.0)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (ImportancePolicy("token", "off"), [1, 1, 1, 1]),
        (ImportancePolicy("token", "truncate", 0.0, 2.0), [2, 0.5, 1, 2]),
        (ImportancePolicy("token", "mask", 0.6, 3.0), [2, 0, 1, 0]),
        (ImportancePolicy("token", "reject", 0.6, 3.0), [2, 0, 1, 0]),
        (ImportancePolicy("sequence_mean", "truncate", 0.0, 2.0), [1.25, 1.25, 2, 2]),
        (ImportancePolicy("sequence_mean", "mask", 0.5, 2.0), [1.25, 1.25, 0, 0]),
        (ImportancePolicy("sequence_mean", "reject", 0.5, 2.0), [2, 0.5, 0, 0]),
        (ImportancePolicy("sequence_geometric", "truncate", 0.0, 1.5), [1, 1, 1.5, 1.5]),
        (ImportancePolicy("sequence_geometric", "mask", 0.5, 1.5), [1, 1, 0, 0]),
        (ImportancePolicy("sequence_geometric", "reject", 0.999, 1.002), [2, 0.5, 0, 0]),
        (ImportancePolicy("sequence_error", "reject", 0.0, 2.1), [2, 0.5, 0, 0]),
        (ImportancePolicy("token", "truncate", 0.0, math.inf, sequence_error_max=2.1), [2, 0.5, 0, 0]),
        (ImportancePolicy("token", "off", sequence_error_max=2.1), [1, 1, 0, 0]),
    ],
)
def test_each_correction_by_hand(policy: ImportancePolicy, expected: list[float]) -> None:
    old = torch.log(torch.tensor(WEIGHTS, dtype=torch.float64))
    assert weigh(policy, old, torch.zeros(4).double(), [0, 0, 1, 1]).tolist() == pytest.approx(expected)


@given(LOGPROBS, st.sampled_from(["token", "sequence_mean", "sequence_geometric"]), st.sampled_from(["mask", "reject"]))
def test_where_sampler_and_trainer_agree_every_weight_is_one(pairs: list, unit: str, action: str) -> None:
    old = torch.tensor([a for a, _ in pairs]).double()
    policy = ImportancePolicy(unit, action, 0.5, 2.0)  # type: ignore[arg-type]
    assert weigh(policy, old, old.clone(), [0] * len(old)).tolist() == pytest.approx([1.0] * len(old))
