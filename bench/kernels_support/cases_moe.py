"""The other kernels at the demo's shape, at a wider one and, on a GPU, at Nano's: norms, router, experts, head, FP8.

Peers are the modules of transformers' NemotronH, its experts in each of its implementations, and torch's own functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import NemotronHConfig
from transformers.models.nemotron_h import modeling_nemotron_h as nemotron

from model.config import HybridConfig
from model.kernels.experts import routed_experts
from model.kernels.fp8 import E4M3, LARGEST, quantise, scale_of
from model.kernels.logprob import linear_logprob
from model.kernels.norm import gated_rms_norm, rms_norm
from model.kernels.router import Routing, route

from .case import Case, directions, size_of


class Size(NamedTuple):
    name: str
    tokens: int
    hidden: int
    experts: int
    top_k: int
    units: int
    inner: int  # channels of the gated norm
    groups: int
    vocabulary: int
    head_tokens: int  # tokens that reach the output head


_TINY = Size("tiny", 8192, 64, 8, 2, 32, 64, 1, 900, 2048)
_TINY_SHORT = _TINY._replace(name="tiny short", tokens=512, head_tokens=512)
_WIDE = Size("wide", 2048, 256, 32, 4, 128, 512, 4, 32768, 512)
_NANO = Size("nano", 16384, 2688, 128, 6, 1856, 4096, 8, 131072, 16384)


def sizes(device: torch.device, quick: bool) -> list[Size]:
    if device.type == "cuda":
        return [_NANO]
    return [_TINY] if quick else [_TINY, _TINY_SHORT, _WIDE]


def cases(device: torch.device, quick: bool) -> Iterator[Case]:
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    for size in sizes(device, quick):
        for family in (_norm, _gated_norm, _router, _experts, _logprob):
            yield from family(size, device, dtype)
        yield _fp8(size, device, dtype)


class _Forms(NamedTuple):
    """What is compared, and what it is differentiated by."""

    run: Callable[[], Any]
    leaves: list[Tensor]


def _both_directions(
    kernel: str, size: Size, forms: dict[str, _Forms], grad: Tensor, moved: tuple[int, int], flops: tuple[int, int]
) -> Iterator[Case]:
    """Forward alone, then both; bytes and operations of each."""
    runs = {name: directions(form.run, form.leaves, grad) for name, form in forms.items()}
    for number, direction in enumerate(("forward", "forward+backward")):
        chosen = {name: pair[number] for name, pair in runs.items()}
        yield Case(kernel, direction, f"{size.name} {size.tokens}", grad.dtype, moved[number], flops[number], chosen)


def _leaf(*shape: int, device: torch.device, dtype: torch.dtype, scale: float = 1.0) -> Tensor:
    return (torch.randn(shape, device=device, dtype=dtype) * scale).requires_grad_()


def _norm(size: Size, device: torch.device, dtype: torch.dtype) -> Iterator[Case]:
    x = _leaf(size.tokens, size.hidden, device=device, dtype=dtype)
    weight = _leaf(size.hidden, device=device, dtype=dtype)
    theirs = nemotron.NemotronHRMSNorm(size.hidden, eps=1e-5).to(device, dtype)
    forms = {
        "ours": _Forms(lambda: rms_norm(x, weight, 1e-5), [x, weight]),
        "torch": _Forms(lambda: F.rms_norm(x, (size.hidden,), weight, 1e-5), [x, weight]),
        "transformers": _Forms(lambda: theirs(x), [x, theirs.weight]),
    }
    yield from _both_directions("rms_norm", size, forms, torch.randn_like(x), (2 * size_of(x), 5 * size_of(x)), (0, 0))


def _gated_norm(size: Size, device: torch.device, dtype: torch.dtype) -> Iterator[Case]:
    y, z = (_leaf(size.tokens, size.inner, device=device, dtype=dtype) for _ in range(2))
    weight = _leaf(size.inner, device=device, dtype=dtype)
    theirs = nemotron.NemotronHRMSNormGated(size.inner, size.inner // size.groups, eps=1e-5).to(device, dtype)
    forms = {
        "ours": _Forms(lambda: gated_rms_norm(y, z, weight, 1e-5, size.groups), [y, z, weight]),
        "transformers": _Forms(lambda: theirs(y, z), [y, z, theirs.weight]),
    }
    moved = 3 * size_of(y), 8 * size_of(y)
    yield from _both_directions("gated_rms_norm", size, forms, torch.randn_like(y), moved, (0, 0))


def _config(size: Size) -> Any:
    """transformers' configuration of one such layer."""
    ours = HybridConfig.tiny(
        1000,
        hidden_size=size.hidden,
        n_routed_experts=size.experts,
        num_experts_per_tok=size.top_k,
        moe_intermediate_size=size.units,
    )
    return NemotronHConfig(**ours.to_hf())


def _router(size: Size, device: torch.device, dtype: torch.dtype) -> Iterator[Case]:
    x = _leaf(size.tokens, size.hidden, device=device, dtype=dtype)
    gate = _leaf(size.experts, size.hidden, device=device, dtype=torch.float32, scale=size.hidden**-0.5)
    bias = torch.randn(size.experts, device=device) * 0.1
    theirs = nemotron.NemotronHTopkRouter(_config(size)).to(device)
    with torch.no_grad():
        theirs.weight.copy_(gate)
        theirs.e_score_correction_bias.copy_(bias)
    forms = {
        "ours": _Forms(lambda: route(x, gate, bias, size.top_k, 2.5, True).weights, [x, gate]),
        "transformers": _Forms(lambda: theirs(x)[1], [x, theirs.weight]),
    }
    flops = 2 * size.tokens * size.hidden * size.experts
    moved = size_of(x, gate), 3 * size_of(x, gate)
    grad = torch.randn(size.tokens, size.top_k, device=device)
    yield from _both_directions("router", size, forms, grad, moved, (flops, 3 * flops))


def _experts(size: Size, device: torch.device, dtype: torch.dtype) -> Iterator[Case]:
    x = _leaf(size.tokens, size.hidden, device=device, dtype=dtype)
    shape = (size.experts, size.units, size.hidden)
    up, down = (_leaf(*shape, device=device, dtype=dtype, scale=size.hidden**-0.5) for _ in range(2))
    chosen = torch.rand(size.tokens, size.experts, device=device).argsort(-1)[:, : size.top_k].contiguous()
    weights = torch.rand(chosen.shape, device=device).requires_grad_()
    forms = {"ours": _Forms(lambda: routed_experts(x, Routing(chosen, weights), up, down), [x, weights, up, down])}
    for kind in ("eager", "batched_mm", "grouped_mm"):
        # The batched form copies its experts' weights for every pair: only where that is little.
        if kind != "batched_mm" or chosen.numel() * shape[1] * shape[2] <= 1 << 22:
            theirs = _their_experts(size, kind, up, down)
            run = lambda theirs=theirs: theirs(x, chosen, weights).to(dtype)  # noqa: E731
            forms[f"transformers {kind}"] = _Forms(run, [x, weights, *theirs.parameters()])
    flops = 4 * chosen.numel() * size.units * size.hidden
    used = min(size.experts, chosen.numel())
    matrices = 2 * used * size.units * size.hidden * up.element_size()
    moved = matrices + 2 * size_of(x), 3 * matrices + 5 * size_of(x)
    yield from _both_directions("experts", size, forms, torch.randn_like(x), moved, (flops, 3 * flops))


def _their_experts(size: Size, kind: str, up: Tensor, down: Tensor) -> nn.Module:
    config = _config(size)
    config._experts_implementation = kind
    with torch.device("meta"):
        theirs: nn.Module = nemotron.NemotronHExperts(config)
    theirs.up_proj = nn.Parameter(up.detach())
    theirs.down_proj = nn.Parameter(down.detach().transpose(1, 2).contiguous())
    return theirs


def _logprob(size: Size, device: torch.device, dtype: torch.dtype) -> Iterator[Case]:
    size = size._replace(tokens=size.head_tokens)
    hidden = _leaf(size.tokens, size.hidden, device=device, dtype=dtype)
    weight = _leaf(size.vocabulary, size.hidden, device=device, dtype=dtype, scale=size.hidden**-0.5)
    targets = torch.randint(size.vocabulary, (size.tokens,), device=device)

    def all_logits() -> tuple[Tensor, Tensor]:
        log_probs = torch.mm(hidden, weight.t()).float().log_softmax(-1)
        with torch.no_grad():
            entropy = -(log_probs.exp() * log_probs).sum(-1)
        return log_probs.gather(1, targets[:, None])[:, 0], entropy

    forms = {
        "ours": _Forms(lambda: linear_logprob(hidden, weight, targets), [hidden, weight]),
        "torch, all logits": _Forms(all_logits, [hidden, weight]),
    }
    flops = 2 * size.tokens * size.hidden * size.vocabulary
    moved = size_of(hidden, weight), 3 * size_of(hidden, weight)
    grad = torch.randn(size.tokens, device=device)
    yield from _both_directions("logprob", size, forms, grad, moved, (flops, 3 * flops))


def _fp8(size: Size, device: torch.device, dtype: torch.dtype) -> Case:
    x = torch.randn(size.tokens, size.hidden, device=device, dtype=dtype)
    scale = scale_of(x.abs().amax())
    moved = size_of(x) + x.numel()
    return Case(
        "fp8_quantise", "forward", f"{size.name} {size.tokens}", dtype, moved, 0,
        {"ours": lambda: quantise(x, scale), "torch": lambda: (x / scale).clamp(-LARGEST, LARGEST).to(E4M3)},
    )  # fmt: skip
