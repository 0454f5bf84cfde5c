"""Chunked log-probabilities and entropies against all logits at once."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from model.kernels import logprob
from model.kernels.logprob import linear_logprob, linear_logprob_reference

pytestmark = pytest.mark.usefixtures("form")


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


@pytest.mark.usefixtures("nan_buffers")
@pytest.mark.parametrize("kept", [0, 1 << 20])
@pytest.mark.parametrize("temperature", [0.6, 1.7])
def test_temperature_divides_the_logits(kept: int, temperature: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logprob, "_KEPT_NUMBERS", kept)
    hidden, weight, targets = problem(6, 7)
    leaves = (hidden.requires_grad_(), weight.requires_grad_())
    form = lambda h, w: linear_logprob(h, w, targets, 14, temperature=temperature)  # noqa: E731
    for ours, expected in zip(form(*leaves), linear_logprob_reference(*leaves, targets, temperature), strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-13)
    assert torch.autograd.gradcheck(form, leaves)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_without_a_distribution_is_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature must be positive"):
        linear_logprob(*problem(2, 3), temperature=temperature)


def test_masked_tokens_are_inert() -> None:
    hidden, weight, targets = problem(6, 7)
    mask = torch.tensor([True, False, True, True, False, False])
    hidden[~mask] = float("nan")
    targets[~mask] = 10**9
    leaves = (hidden.requires_grad_(), weight.requires_grad_())
    logprobs, entropy = linear_logprob(hidden, weight, targets, mask=mask)
    (logprobs.sin().sum() + entropy.sum()).backward()
    assert logprobs[~mask].abs().max() == 0 and entropy[~mask].abs().max() == 0
    assert hidden.grad[~mask].abs().max() == 0
    alone = [leaf.detach().clone().requires_grad_() for leaf in (hidden[mask], weight)]
    expected = linear_logprob(*alone, targets[mask])
    (expected[0].sin().sum() + expected[1].sum()).backward()
    assert torch.equal(logprobs[mask], expected[0]) and torch.equal(entropy[mask], expected[1])
    assert torch.equal(hidden.grad[mask], alone[0].grad) and torch.equal(weight.grad, alone[1].grad)
    assert torch.isfinite(weight.grad).all()
    nobody = linear_logprob(*leaves, targets, mask=torch.zeros(6, dtype=torch.bool))
    assert nobody[0].tolist() == [0] * 6


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-9), (torch.float32, 1e-6)])
def test_packed_equals_separate(dtype: torch.dtype, bound: float) -> None:
    lengths = [5, 1, 9]
    hidden, weight, targets = problem(15, 11)
    results = []
    for parts in ([15], lengths):
        h, w = (part.to(dtype).requires_grad_() for part in (hidden, weight))
        pieces = [linear_logprob(a, w, b, 22) for a, b in zip(h.split(parts), targets.split(parts), strict=True)]
        logprobs, entropy = (torch.cat(part) for part in zip(*pieces, strict=True))
        ((logprobs * torch.arange(15)).sum() / 15 + entropy.sum()).backward()
        results.append((logprobs.detach(), entropy.detach(), h.grad, w.grad))
    for ours, expected in zip(*results, strict=True):
        assert (ours - expected).abs().max() <= bound * expected.abs().max().clamp(min=1)


def test_kept_and_made_again_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for kept in (0, 1 << 20):
        monkeypatch.setattr(logprob, "_KEPT_NUMBERS", kept)
        hidden, weight, targets = problem(9, 11)
        leaves = (hidden.requires_grad_(), weight.requires_grad_())
        logprobs, entropy = linear_logprob(*leaves, targets, 33)
        loss = logprobs.sin().sum() + entropy.cos().sum()
        loss.backward(retain_graph=True)
        first = [leaf.grad.clone() for leaf in leaves]
        loss.backward()
        for leaf, once in zip(leaves, first, strict=True):
            torch.testing.assert_close(leaf.grad, 2 * once)
        found.append([logprobs.detach(), entropy.detach(), *first])
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-13)


def test_narrow_inputs_are_not_rounded_again() -> None:
    hidden, weight, targets = problem(20, 300)
    narrow = hidden.bfloat16(), (8 * weight).bfloat16()
    logprobs, entropy = linear_logprob(*narrow, targets)
    expected = linear_logprob_reference(narrow[0].double(), narrow[1].double(), targets)
    assert logprobs.dtype == torch.float32
    torch.testing.assert_close(logprobs.double(), expected[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(entropy.double(), expected[1], rtol=1e-5, atol=1e-5)


def peak_memory(work: Callable[[], None]) -> int:
    """The most bytes held at once of those that `work` allocates."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        work()
    assert recorded.profiler is not None and recorded.profiler.kineto_results is not None
    events = recorded.profiler.kineto_results.events()
    held = most = 0
    for _, num_bytes in sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]"):
        held += num_bytes
        most = max(most, held)
    return most


@pytest.mark.parametrize(("tokens", "vocab"), [(1200, 20000), (480, 40000)])
def test_peak_memory_is_a_twentieth_of_all_logits(tokens: int, vocab: int) -> None:
    hidden, weight = torch.randn(tokens, 2, requires_grad=True), torch.randn(vocab, 2, requires_grad=True)
    targets = torch.randint(vocab, (tokens,))

    def work() -> None:
        logprobs, entropy = linear_logprob(hidden, weight, targets)
        (logprobs.sum() + entropy.sum()).backward()

    assert 0 < peak_memory(work) <= tokens * vocab * 4 / 20
    # The measure sees what it should: the reference holds all of them, more than once.
    assert peak_memory(lambda: linear_logprob_reference(hidden[:50], weight, targets[:50])[0].sum().backward()) >= (
        50 * vocab * 4
    )
