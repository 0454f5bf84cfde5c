"""The mixers' kernels at the demo's shape and at one Nano layer's: scan, convolution, state update, attention.

Peers are the torch functions of transformers' NemotronH, called as its layers call them, and torch's own attention.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.models.nemotron_h import modeling_nemotron_h as nemotron

from model.kernels.attention import AttentionShape, attend_cached, attention
from model.kernels.conv import causal_conv, causal_conv_step
from model.kernels.ssd import ssd
from model.kernels.ssd_shape import SSDShape
from model.kernels.state_update import state_update
from model.layout import PackedLayout

from .case import Case, directions, size_of


class Size(NamedTuple):
    name: str
    ssd: SSDShape
    attention: AttentionShape
    chunk_size: int
    sequences: int
    length: int
    cached: int  # positions in the cache while decoding


_NANO = SSDShape(64, 64, 8, 128), AttentionShape(32, 2, 128)
_TINY = Size("tiny", SSDShape(2, 32, 1, 16), AttentionShape(4, 2, 16), 32, 16, 128, 128)


def sizes(device: torch.device, quick: bool) -> list[Size]:
    if device.type == "cuda":
        return [Size("nano", *_NANO, 128, 4, 4096, 16384)]
    return [_TINY] if quick else [_TINY, Size("nano", *_NANO, 128, 1, 512, 2048)]


def cases(device: torch.device, quick: bool) -> Iterator[Case]:
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    for size in sizes(device, quick):
        layout = PackedLayout(
            torch.arange(size.sequences + 1) * size.length, size.chunk_size, conv_kernel=4, device=device
        )
        for family in (_scan, _convolution, _prefill):
            yield from family(size, layout, device, dtype)
        for step in (_state_update, _conv_step, _decode):
            yield step(size, device, dtype)


def _randn(*shape: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    return torch.randn(shape, device=device, dtype=dtype)


def _described(size: Size) -> str:
    return f"{size.name} {size.sequences}x{size.length}"


def _scan(size: Size, layout: PackedLayout, device: torch.device, dtype: torch.dtype) -> Iterator[Case]:
    shape, batch, length = size.ssd, size.sequences, size.length
    heads, head_dim, groups, state = shape
    total, width = batch * length, shape.inner + 2 * groups * state
    xBC = _randn(total, width, device=device, dtype=dtype).requires_grad_()
    dt = (torch.rand(total, heads, device=device) * 0.1).requires_grad_()
    A = (-1 - 15 * torch.rand(heads, device=device)).requires_grad_()
    D = torch.ones(heads, device=device).requires_grad_()
    grad = _randn(total, shape.inner, device=device, dtype=dtype)

    def transformers() -> Tensor:
        x, b, c = xBC.view(batch, length, -1).split((shape.inner, groups * state, groups * state), -1)
        x, b, c = x.unflatten(-1, (heads, -1)), b.unflatten(-1, (groups, -1)), c.unflatten(-1, (groups, -1))
        y: Tensor = nemotron.mamba2_chunk_scan(x, dt.view(batch, length, -1), A, b, c, size.chunk_size, D=D)
        return y.to(dtype)

    leaves = [xBC, dt, A, D]
    ours, theirs = (
        directions(form, leaves, grad) for form in (lambda: ssd(xBC, dt, A, D, shape, layout), transformers)
    )
    moved = size_of(xBC, dt, grad)
    chunk = size.chunk_size
    flops = total * (2 * chunk * groups * state + 2 * chunk * heads * head_dim + 4 * state * heads * head_dim)
    text = _described(size)
    # Backward reads what forward read and the gradient, and writes the gradients of xBC and dt.
    both = moved + size_of(xBC, dt, grad) + size_of(xBC, dt)
    yield Case("ssd", "forward", text, dtype, moved, flops, {"ours": ours[0], "transformers": theirs[0]})
    yield Case("ssd", "forward+backward", text, dtype, both, 3 * flops, {"ours": ours[1], "transformers": theirs[1]})


def _convolution(size: Size, layout: PackedLayout, device: torch.device, dtype: torch.dtype) -> Iterator[Case]:
    shape, batch, length = size.ssd, size.sequences, size.length
    channels = shape.inner + 2 * shape.num_groups * shape.state_size
    # The input is a slice of in_proj's output z | xBC | dt, as in the layer.
    wide = _randn(batch * length, shape.inner + channels + shape.num_heads, device=device, dtype=dtype).requires_grad_()
    weight = _randn(4, channels, device=device, dtype=dtype).requires_grad_()
    bias = _randn(channels, device=device, dtype=dtype).requires_grad_()
    grad = _randn(batch * length, channels, device=device, dtype=dtype)
    released = weight.detach().t().contiguous().requires_grad_()

    def ours() -> Tensor:
        return causal_conv(wide[:, shape.inner : shape.inner + channels], weight, bias, layout)

    def transformers() -> Tensor:
        x = wide.view(batch, length, -1)[..., shape.inner : shape.inner + channels].transpose(1, 2)
        y: Tensor = nemotron.causal_conv1d_fn(x, released, bias, activation="silu")
        return y.transpose(1, 2)

    run, peer = directions(ours, [wide, weight, bias], grad), directions(transformers, [wide, released, bias], grad)
    moved, text = 2 * size_of(grad), _described(size)
    flops = 8 * grad.numel()
    yield Case("conv", "forward", text, dtype, moved, flops, {"ours": run[0], "transformers": peer[0]})
    both = moved + 3 * size_of(grad)
    yield Case("conv", "forward+backward", text, dtype, both, 3 * flops, {"ours": run[1], "transformers": peer[1]})


def _prefill(size: Size, layout: PackedLayout, device: torch.device, dtype: torch.dtype) -> Iterator[Case]:
    heads, kv_heads, dim = size.attention
    batch, length = size.sequences, size.length
    qkv = _randn(batch * length, (heads + 2 * kv_heads) * dim, device=device, dtype=dtype).requires_grad_()
    grad = _randn(batch * length, heads * dim, device=device, dtype=dtype)

    def torch_sdpa() -> Tensor:
        q, k, v = (part.transpose(1, 2) for part in size.attention.split(qkv.view(batch, length, -1)))
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True).transpose(1, 2).flatten(2)

    def transformers() -> Tensor:
        # As its eager layer does: keys and values repeated for every query head.
        q, k, v = (part.transpose(1, 2) for part in size.attention.split(qkv.view(batch, length, -1)))
        k, v = (nemotron.repeat_kv(part, heads // kv_heads) for part in (k, v))
        scores = (q @ k.transpose(2, 3)) * dim**-0.5
        future = torch.full((length, length), float("-inf"), device=device, dtype=dtype).triu_(1)
        return ((scores + future).softmax(-1) @ v).transpose(1, 2).flatten(2)

    forms = {
        "ours": lambda: attention(qkv, size.attention, layout),
        "torch sdpa": torch_sdpa,
        "transformers": transformers,
    }
    runs = {name: directions(form, [qkv], grad) for name, form in forms.items()}
    flops = 2 * batch * heads * dim * length * length  # two products, half of the pairs each
    moved, text = size_of(qkv, grad), _described(size)
    both = 2 * moved + size_of(qkv)
    for direction, index, least, work in (("forward", 0, moved, flops), ("forward+backward", 1, both, 7 * flops // 2)):
        yield Case("attention", direction, text, dtype, least, work, {name: pair[index] for name, pair in runs.items()})


def _state_update(size: Size, device: torch.device, dtype: torch.dtype) -> Case:
    shape, batch = size.ssd, size.sequences * (32 if device.type == "cuda" else 1)
    heads, head_dim, groups, state = shape
    xBC = _randn(batch, shape.inner + 2 * groups * state, device=device, dtype=dtype)
    dt, A = torch.rand(batch, heads, device=device) * 0.1, -torch.rand(heads, device=device)
    D, bias = torch.ones(heads, device=device), torch.zeros(heads, device=device)
    states = _randn(*shape.states(batch), device=device, dtype=torch.float32)
    theirs = _randn(batch, heads, head_dim, state, device=device, dtype=torch.float32)

    @torch.no_grad()
    def transformers() -> None:
        x, b, c = xBC.split((shape.inner, groups * state, groups * state), -1)
        b, c = b.reshape(batch, groups, -1), c.reshape(batch, groups, -1)
        rates = A[:, None, None].expand(-1, head_dim, state)
        nemotron.mamba2_selective_state_update(
            theirs,
            x.reshape(batch, heads, head_dim),
            dt[..., None].expand(-1, -1, head_dim),
            rates,
            b,
            c,
            D[:, None].expand(-1, head_dim),
            dt_bias=bias[:, None].expand(-1, head_dim),
            dt_softplus=True,
        )

    @torch.no_grad()
    def ours() -> None:
        state_update(xBC, dt, A, D, shape, states, dt_bias=bias)

    moved = 2 * size_of(states) + size_of(xBC)
    return Case(
        "state_update", "update", f"{size.name} {batch}", dtype, moved, 5 * states.numel(),
        {"ours": ours, "transformers": transformers},
    )  # fmt: skip


def _conv_step(size: Size, device: torch.device, dtype: torch.dtype) -> Case:
    shape, batch = size.ssd, size.sequences * (32 if device.type == "cuda" else 1)
    channels = shape.inner + 2 * shape.num_groups * shape.state_size
    x, weight = (_randn(rows, channels, device=device, dtype=dtype) for rows in (batch, 4))
    bias, states = (
        _randn(channels, device=device, dtype=dtype),
        _randn(batch, 3, channels, device=device, dtype=dtype),
    )
    theirs, released = states.transpose(1, 2).contiguous(), weight.t().contiguous()

    @torch.no_grad()
    def transformers() -> None:
        nemotron.causal_conv1d_update(x[..., None], theirs, released, bias, activation="silu")

    @torch.no_grad()
    def ours() -> None:
        causal_conv_step(x, states, weight, bias)

    moved = 2 * size_of(states) + 2 * size_of(x)
    return Case(
        "conv", "update", f"{size.name} {batch}", dtype, moved, 8 * x.numel(),
        {"ours": ours, "transformers": transformers},
    )  # fmt: skip


def _decode(size: Size, device: torch.device, dtype: torch.dtype) -> Case:
    heads, kv_heads, dim = size.attention
    batch, cached = size.sequences * 4, size.cached
    q = _randn(batch, 1, heads, dim, device=device, dtype=dtype)
    keys, values = (_randn(batch, kv_heads, cached, dim, device=device, dtype=dtype) for _ in range(2))
    visible = torch.full((batch, 1), cached, device=device)

    @torch.no_grad()
    def ours() -> None:
        attend_cached(q, keys, values, visible)

    @torch.no_grad()
    def torch_sdpa() -> None:
        F.scaled_dot_product_attention(q.transpose(1, 2), keys, values, enable_gqa=True)

    return Case(
        "attention", "decode", f"{size.name} {batch}x{cached}", dtype, size_of(q, keys, values) + size_of(q),
        4 * batch * heads * cached * dim, {"ours": ours, "torch sdpa": torch_sdpa},
    )  # fmt: skip
