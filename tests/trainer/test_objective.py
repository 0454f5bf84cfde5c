import math
from typing import Any

import pytest
import torch

from trainer.config import parse_recipe
from trainer.objective import Objective, kl_to_reference, normaliser, surrogate, token_losses


def doubles(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def losses(ratio: float, advantage: float, weight: float = 1.0, **options: Any) -> float:
    logprob = doubles(math.log(ratio) - 0.7)
    value = token_losses(logprob, doubles(ratio), doubles(advantage), doubles(weight), 0.2, 0.28, **options)
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


def loss_of(logprobs: torch.Tensor, normaliser: float = 4.0, **options: Any) -> Objective:
    return surrogate(
        logprobs,
        torch.zeros(4, dtype=torch.float64),
        doubles(1.0, 1.0, -1.0, -1.0),
        torch.ones(4, dtype=torch.float64),
        torch.tensor([0, 0, 0, 1]),
        2,
        normaliser,
        **options,
    )


def test_sequences_are_summed_and_divided_once() -> None:
    logprobs = torch.log(torch.tensor([1.0, 2.0, 1.1, 0.5], dtype=torch.float64))
    result = loss_of(logprobs)
    # -1.0, -1.28, 1.1 in the first sequence, 0.8 in the second
    assert result.sequence_sums.tolist() == pytest.approx([-1.18, 0.8])
    assert float(result.loss) == pytest.approx((-1.18 + 0.8) / 4)
    assert int(result.clipped_high) == 1
    assert int(result.clipped_low) == 1
    assert result.ratio.tolist() == pytest.approx([1.0, 2.0, 1.1, 0.5])


def test_gradient_by_hand() -> None:
    logprobs = torch.log(torch.tensor([1.0, 2.0, 1.1, 0.5], dtype=torch.float64)).requires_grad_()
    loss_of(logprobs).loss.backward()
    # d(-A r)/dlogp = -A r where not clipped, 0 where clipped
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == pytest.approx([-1.0 / 4, 0.0, 1.1 / 4, 0.0])


def test_weights_and_old_logprobs_take_no_gradient() -> None:
    logprobs = torch.zeros(2, requires_grad=True)
    ratio = (logprobs - torch.zeros(2)).exp()
    token_losses(logprobs, ratio, torch.ones(2), torch.tensor([0.5, 0.0]), 0.2, 0.28).sum().backward()
    assert logprobs.grad is not None and logprobs.grad.tolist() == [-0.5, 0.0]


def test_the_dual_clip_bounds_what_a_bad_token_costs() -> None:
    assert losses(5.0, -1.0) == pytest.approx(5.0)
    assert losses(5.0, -1.0, dual_clip=3.0) == pytest.approx(3.0)
    assert losses(0.5, -1.0, dual_clip=3.0) == pytest.approx(0.8), "elsewhere it changes nothing"
    assert losses(5.0, 1.0, dual_clip=3.0) == pytest.approx(-1.28)


# Two sequences: ratios 1.5 and 1 with advantage 1, ratio 0.5 with advantage -1.
PUBLISHED = {
    "dapo": (-1.28 - 1.0 + 0.8) / 3,
    "grpo": ((-1.2 - 1.0) / 2 + 0.8) / 2,
    "dr_grpo": ((-1.2 - 1.0) / 10 + 0.8 / 10) / 2,
    "gspo": (-1.0004 + 0.9997) / 2,  # sqrt(1.5) and 0.5 are far outside the narrow clip
    "cispo": (-1.5 * math.log(1.5) - 1.0 * 0.0 + 0.5 * math.log(0.5)) / 3,
    "nano": (-1.28 - 1.0 + 0.8) / 3,
}


def published(name: str, logprobs: torch.Tensor) -> Objective:
    recipe = parse_recipe({"name": "x", "environments": {"e": {}}, "objective": {"preset": name}}).objective
    return surrogate(
        logprobs,
        torch.zeros(3, dtype=torch.float64),
        doubles(1.0, 1.0, -1.0),
        torch.ones(3, dtype=torch.float64),
        torch.tensor([0, 0, 1]),
        2,
        normaliser(3, 2, recipe.aggregate),
        clip_low=recipe.clip_low,
        clip_high=recipe.clip_high,
        ratio=recipe.ratio,
        clip=recipe.clip,
        aggregate=recipe.aggregate,
        constant=10.0,
        reference_logprobs=logprobs.detach(),
        kl_coef=recipe.kl_coef,
    )


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_objectives_by_hand(name: str) -> None:
    result = published(name, doubles(1.5, 1.0, 0.5).log())
    assert float(result.loss) == pytest.approx(PUBLISHED[name], rel=1e-9)


def test_the_clipped_weight_leaves_every_token_its_gradient() -> None:
    logprobs = doubles(1.5, 1.0, 0.5).log().requires_grad_()
    published("cispo", logprobs).loss.backward()
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == pytest.approx([-1.5 / 3, -1.0 / 3, 0.5 / 3])


def test_the_sequence_ratio_shares_its_gradient() -> None:
    # inside the clip: d(-s)/d log π_t = -s / 2, half of the sequence each, then a mean over one sequence of two tokens
    logprobs = doubles(1.2, 1.0).log().requires_grad_()
    result = surrogate(
        logprobs, doubles(0.0, 0.0), doubles(1.0, 1.0), doubles(1.0, 1.0), torch.tensor([0, 0]), 1, 1.0,
        ratio="sequence", aggregate="sequence",
    )  # fmt: skip
    result.loss.backward()
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == pytest.approx([-math.sqrt(1.2) / 2] * 2)


@pytest.mark.parametrize("name", PUBLISHED)
def test_splitting_a_batch_changes_nothing(name: str) -> None:
    recipe = parse_recipe({"name": "x", "environments": {"e": {}}, "objective": {"preset": name}}).objective
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([3, 1, 5, 2])
    sequence = torch.arange(4).repeat_interleave(lengths)
    logprobs, old = torch.randn(2, 11, generator=generator, dtype=torch.float64)
    advantages = torch.randn(4, generator=generator, dtype=torch.float64)[sequence]
    weights = torch.rand(11, generator=generator, dtype=torch.float64)

    def part(chosen: list[int]) -> float:
        rows = torch.isin(sequence, torch.tensor(chosen))
        local = torch.bucketize(sequence[rows], torch.tensor(chosen))
        result = surrogate(
            logprobs[rows], old[rows], advantages[rows], weights[rows], local, len(chosen),
            normaliser(11, 4, recipe.aggregate), clip_low=recipe.clip_low, clip_high=recipe.clip_high,
            ratio=recipe.ratio, clip=recipe.clip, aggregate=recipe.aggregate, constant=7.0,
        )  # fmt: skip
        return float(result.loss)

    assert part([0, 1, 2, 3]) == pytest.approx(part([0, 2]) + part([1]) + part([3]), abs=1e-12)


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
