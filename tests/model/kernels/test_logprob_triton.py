"""The Triton form of the log-probability: rows longer than a block, both gradients alone and together."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from model.kernels.logprob import _LinearLogprob, linear_logprob_reference

pytestmark = pytest.mark.usefixtures("nan_buffers")


@pytest.mark.parametrize("uses", ["logprob", "entropy", "both"])
@pytest.mark.parametrize(("tokens", "vocab"), [(1, 3), (5, 8), (4, 21)])
def test_equals_the_reference(
    triton_device: str,
    agree: Callable,
    draw: Callable,
    monkeypatch: pytest.MonkeyPatch,
    tokens: int,
    vocab: int,
    uses: str,
) -> None:
    from model.kernels import logprob_triton

    monkeypatch.setattr(logprob_triton, "_BLOCK", 8)
    targets = torch.arange(tokens) * 7 % vocab
    used = {"logprob": slice(0, 1), "entropy": slice(1, 2), "both": slice(0, 2)}[uses]

    def ours(hidden: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        form = logprob_triton.TritonChunks()
        return _LinearLogprob.apply(hidden, weight, targets.to(hidden.device), 2, 1 / 0.7, form)[used]

    def reference(hidden: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        return linear_logprob_reference(hidden, weight, targets, 0.7)[used]

    agree(ours, reference, [draw(tokens, 6), draw(vocab, 6)], torch.float32, triton_device)


def test_impossible_tokens_stay_finite(triton_device: str) -> None:
    from model.kernels.logprob_triton import TritonChunks

    z = torch.tensor([[0.0, -2e4], [3e4, 3e4]], device=triton_device)
    found = TritonChunks().statistics(z, torch.tensor([1, 0], device=triton_device), None)
    assert found.logprobs.tolist() == pytest.approx([-2e4, -0.693147], abs=1e-6)
    assert found.entropy.tolist() == pytest.approx([0.0, 0.693147], abs=1e-6)


@pytest.mark.gpu
def test_bf16_on_a_gpu_holds_fp32_logits(agree: Callable, draw: Callable) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU: products of bf16 numbers that come out in fp32 were not run")
    from model.kernels.logprob import linear_logprob

    targets = torch.arange(300) * 7 % 1000
    agree(
        lambda h, w: linear_logprob(h, w, targets.cuda()),
        lambda h, w: linear_logprob_reference(h, w, targets),
        [draw(300, 64), draw(1000, 64)],
        torch.bfloat16,
        "cuda",
        narrow=lambda h, w: _in_bf16(h, w, targets),
    )


def _in_bf16(hidden: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """As torch computes it from logits in bf16."""
    logp = torch.mm(hidden, weight.t()).float().log_softmax(-1)
    return logp.gather(1, targets[:, None])[:, 0], -(logp.exp() * logp).sum(-1)
