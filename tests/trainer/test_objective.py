import math

import pytest
import torch

from trainer.objective import clipped_surrogate, kl_to_reference, token_losses


def losses(ratio: float, advantage: float, weight: float = 1.0) -> float:
    logprob = torch.tensor([math.log(ratio) - 0.7], dtype=torch.float64)
    old = torch.tensor([-0.7], dtype=torch.float64)
    value, _ = token_losses(
        logprob, old, torch.tensor([advantage], dtype=torch.float64), torch.tensor([weight]).double(), 0.2, 0.28
    )
    return float(value[0])


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"),
    [
        (1.5, 2.0, -2.56),  # clipped at 1.28
        (1.25, 2.0, -2.5),  # inside
        (0.5, 2.0, -1.0),  # getting worse at something good: not clipped
        (1.5, -2.0, 3.0),  # getting better at something bad: not clipped
        (0.5, -2.0, 1.6),  # clipped at 0.8
        (0.9, -2.0, 1.8),
        (1.0, 0.0, 0.0),
    ],
)
def test_token_loss_by_hand(ratio: float, advantage: float, expected: float) -> None:
    assert losses(ratio, advantage) == pytest.approx(expected, abs=1e-12)


def test_the_importance_weight_multiplies() -> None:
    assert losses(1.5, 2.0, weight=0.5) == pytest.approx(-1.28)
    assert losses(1.5, 2.0, weight=0.0) == 0.0


def surrogate(logprobs: torch.Tensor, normaliser: float = 4.0):
    return clipped_surrogate(
        logprobs,
        torch.zeros(4, dtype=torch.float64),
        torch.tensor([1.0, 1.0, -1.0, -1.0], dtype=torch.float64),
        torch.ones(4, dtype=torch.float64),
        torch.tensor([0, 0, 0, 1]),
        2,
        normaliser,
    )


def test_sequences_are_summed_and_divided_once() -> None:
    logprobs = torch.log(torch.tensor([1.0, 2.0, 1.1, 0.5], dtype=torch.float64))
    result = surrogate(logprobs)
    # -1.0, -1.28, 1.1 in the first sequence, 0.8 in the second
    assert result.sequence_sums.tolist() == pytest.approx([-1.18, 0.8])
    assert float(result.loss) == pytest.approx((-1.18 + 0.8) / 4)
    assert int(result.clipped_high) == 1
    assert int(result.clipped_low) == 1
    assert result.ratio.tolist() == pytest.approx([1.0, 2.0, 1.1, 0.5])


def test_gradient_by_hand() -> None:
    logprobs = torch.log(torch.tensor([1.0, 2.0, 1.1, 0.5], dtype=torch.float64)).requires_grad_()
    surrogate(logprobs).loss.backward()
    # d(-A r)/dlogp = -A r where not clipped, 0 where clipped
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == pytest.approx([-1.0 / 4, 0.0, 1.1 / 4, 0.0])


def test_weights_and_old_logprobs_take_no_gradient() -> None:
    logprobs = torch.zeros(2, requires_grad=True)
    old, weights = torch.zeros(2), torch.tensor([0.5, 0.0])
    value, ratio = token_losses(logprobs, old, torch.ones(2), weights, 0.2, 0.28)
    value.sum().backward()
    assert logprobs.grad is not None and logprobs.grad.tolist() == [-0.5, 0.0]
    assert ratio.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("ahead", "expected"),
    [
        (0.0, 0.0),
        (math.log(2.0), 0.5 - 1.0 + math.log(2.0)),  # twice as likely as the reference says: 0.193
        (-math.log(2.0), 2.0 - 1.0 - math.log(2.0)),  # half as likely: 0.307
        (-50.0, math.exp(20.0) - 1.0 - 20.0),  # counts as 20, so that nothing overflows
    ],
)
def test_the_anchor_by_hand(ahead: float, expected: float) -> None:
    value = kl_to_reference(torch.tensor([ahead - 1.0], dtype=torch.float64), torch.tensor([-1.0], dtype=torch.float64))
    assert float(value[0]) == pytest.approx(expected, rel=1e-12)


def test_the_anchor_s_mean_is_the_divergence() -> None:
    policy, reference = torch.tensor([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]], dtype=torch.float64)
    estimate = (policy * kl_to_reference(policy.log(), reference.log())).sum()
    assert float(estimate) == pytest.approx(float((policy * (policy / reference).log()).sum()), abs=1e-12)
