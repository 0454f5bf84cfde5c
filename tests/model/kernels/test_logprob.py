"""Chunked log-probabilities and entropies against all logits at once."""

from __future__ import annotations

import math

import pytest
import torch

from model.kernels.logprob import linear_logprob, linear_logprob_reference


def problem(tokens: int, vocab: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(7)
    hidden = torch.randn(tokens, 5, generator=draw, dtype=torch.float64)
    weight = torch.randn(vocab, 5, generator=draw, dtype=torch.float64)
    return hidden, weight, torch.randint(vocab, (tokens,), generator=draw)


def test_a_uniform_distribution() -> None:
    logprobs, entropy = linear_logprob(torch.zeros(2, 3), torch.randn(4, 3), torch.tensor([0, 3]))
    assert logprobs.tolist() == pytest.approx([-math.log(4)] * 2)
    assert entropy.tolist() == pytest.approx([math.log(4)] * 2)


@pytest.mark.parametrize("chunk_numbers", [1, 22, 1 << 20])
@pytest.mark.parametrize("uses", ["logprob", "entropy", "both"])
def test_fast_equals_reference(chunk_numbers: int, uses: str) -> None:
    parts = problem(9, 11)
    results = []
    for form in (lambda *args: linear_logprob(*args, chunk_numbers), linear_logprob_reference):
        hidden, weight = (part.clone().requires_grad_() for part in parts[:2])
        logprobs, entropy = form(hidden, weight, parts[2])
        scale = torch.arange(9, dtype=torch.float64)
        loss = (logprobs * scale).sum() * (uses != "entropy") + (entropy.cos()).sum() * (uses != "logprob")
        loss.backward()
        results.append((logprobs.detach(), entropy.detach(), hidden.grad, weight.grad))
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("chunk_numbers", [14, 1 << 20])
def test_gradcheck(chunk_numbers: int) -> None:
    hidden, weight, targets = problem(5, 7)
    leaves = (hidden.requires_grad_(), weight.requires_grad_())
    assert torch.autograd.gradcheck(lambda h, w: linear_logprob(h, w, targets, chunk_numbers), leaves)
    assert torch.autograd.gradcheck(lambda h, w: linear_logprob(h, w, targets, chunk_numbers)[0], leaves)
    assert torch.autograd.gradcheck(lambda h, w: linear_logprob(h, w, targets, chunk_numbers)[1], leaves)


def test_impossible_tokens_stay_finite() -> None:
    # logits 0 and -2e4: fp32 probability underflows to zero, the log-probability does not
    weight = torch.tensor([[0.0], [-2e4]], requires_grad=True)
    logprobs, entropy = linear_logprob(torch.ones(1, 1), weight, torch.tensor([1]))
    (logprobs + entropy).sum().backward()
    assert logprobs.item() == -2e4 and entropy.item() == 0
    assert torch.isfinite(weight.grad).all()
