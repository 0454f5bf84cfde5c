"""What holds for every kind of compiled layer: the numbers of the layer computed step by step, and of nobody else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from model.config import HybridConfig
from model.kernels.native.attention import AttentionWeights, attention_layer
from model.kernels.native.mamba import MambaWeights, mamba_layer
from model.kernels.native.moe import MoEWeights, moe_layer
from model.layers import native
from model.layers.block import Block
from model.layout import PackedLayout

KINDS = pytest.mark.parametrize("kind", ["M", "*", "E"])
LENGTHS = [3, 1, 40, 2, 70]
# Nothing here fills a vector: widths, heads, groups, units and experts leave a rest everywhere.
ODD: dict[str, Any] = dict(
    hidden_size=20,
    mamba_num_heads=6,
    mamba_head_dim=5,
    n_groups=3,
    ssm_state_size=7,
    conv_kernel=5,
    chunk_size=9,
    num_attention_heads=6,
    num_key_value_heads=3,
    head_dim=5,
    n_routed_experts=5,
    num_experts_per_tok=3,
    moe_intermediate_size=7,
    moe_shared_expert_intermediate_size=9,
)
SMALL: dict[str, Any] = ODD | dict(
    hidden_size=4, mamba_num_heads=2, mamba_head_dim=3, n_groups=1, ssm_state_size=2, chunk_size=4, conv_kernel=3
)
Make = Callable[..., tuple[Block, HybridConfig]]
Lay = Callable[..., PackedLayout]
Outcome = Callable[..., dict[str, Tensor]]
Agree = Callable[[dict[str, Tensor], dict[str, Tensor], float], None]


@KINDS
@pytest.mark.parametrize("overrides", [{}, ODD], ids=["tiny", "odd"])
def test_equals_the_layer_step_by_step(
    kind: str, overrides: dict[str, Any], layer: Make, layout_of: Lay, outcome: Outcome, agree: Agree
) -> None:
    block, config = layer(kind, **overrides)
    layout = layout_of(LENGTHS, config)
    x = torch.randn(sum(LENGTHS), config.hidden_size, dtype=torch.float64)
    agree(outcome(block, x, layout, compiled=True), outcome(block, x, layout, compiled=False), 1e-12)


@KINDS
@pytest.mark.parametrize("overrides", [{}, ODD], ids=["tiny", "odd"])
def test_fp32_rounds_no_more_than_the_layer_step_by_step(
    kind: str, overrides: dict[str, Any], layer: Make, layout_of: Lay, outcome: Outcome
) -> None:
    narrow, config = layer(kind, torch.float32, **overrides)
    exact, _ = layer(kind, **overrides)
    exact.load_state_dict(narrow.state_dict())
    layout = layout_of(LENGTHS, config)
    x = torch.randn(sum(LENGTHS), config.hidden_size)
    ours, theirs = (outcome(narrow, x, layout, compiled=compiled) for compiled in (True, False))
    for name, want in outcome(exact, x.double(), layout, compiled=False).items():
        allowed = 1e-5 * want.abs().max() + 2 * (theirs[name] - want).abs().max()
        assert (ours[name] - want).abs().max() <= allowed, name


@KINDS
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_lengths_and_sizes(
    kind: str, data: st.DataObject, layer: Make, layout_of: Lay, outcome: Outcome, agree: Agree
) -> None:
    size, groups, heads = (data.draw(st.integers(1, most)) for most in (40, 3, 3))
    experts = data.draw(st.integers(1, 12))
    overrides = dict(
        hidden_size=size,
        n_groups=groups,
        mamba_num_heads=groups * heads,
        mamba_head_dim=data.draw(st.integers(1, 20)),
        ssm_state_size=data.draw(st.integers(1, 20)),
        conv_kernel=data.draw(st.integers(2, 6)),
        chunk_size=data.draw(st.integers(1, 40)),
        num_key_value_heads=groups,
        num_attention_heads=groups * heads,
        head_dim=data.draw(st.integers(1, 20)),
        n_routed_experts=experts,
        num_experts_per_tok=data.draw(st.integers(1, experts)),
        moe_intermediate_size=data.draw(st.integers(1, 40)),
        moe_shared_expert_intermediate_size=data.draw(st.integers(1, 40)),
    )
    lengths = data.draw(st.lists(st.integers(1, 90), min_size=1, max_size=6))
    block, config = layer(kind, **overrides)
    layout = layout_of(lengths, config)
    x = torch.randn(sum(lengths), size, dtype=torch.float64)
    agree(outcome(block, x, layout, compiled=True), outcome(block, x, layout, compiled=False), 1e-10)


@KINDS
def test_gradients_equal_finite_differences(kind: str, layer: Make, layout_of: Lay) -> None:
    block, config = layer(kind, **SMALL)
    layout, eps = layout_of([6, 2, 1], config), block.eps
    mixer: Any = block.mixer
    x = torch.randn(9, config.hidden_size, dtype=torch.float64, requires_grad=True)
    weights: tuple[Tensor, ...]
    form: Callable[..., Tensor]
    if kind == "M":
        weights = native.mamba_weights(block.norm, mixer)
        form = lambda x, *w: mamba_layer(x, MambaWeights(*w), mixer.shape, eps, layout)  # noqa: E731
    elif kind == "*":
        weights = native.attention_weights(block.norm, mixer)
        form = lambda x, *w: attention_layer(x, AttentionWeights(*w), mixer.shape, eps, layout)  # noqa: E731
    else:
        weights, rule = native.moe_weights(block.norm, mixer), native.moe_rule(mixer, eps)
        form = lambda x, *w: moe_layer(x, MoEWeights(*w), rule)[0]  # noqa: E731
    assert torch.autograd.gradcheck(form, (x, *weights))


@KINDS
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-9), (torch.float32, 1e-6)])
def test_packed_equals_separate(
    kind: str, dtype: torch.dtype, bound: float, layer: Make, layout_of: Lay, outcome: Outcome
) -> None:
    block, config = layer(kind, dtype)
    x = torch.randn(sum(LENGTHS), config.hidden_size).to(dtype)
    together = outcome(block, x, layout_of(LENGTHS, config), compiled=True)
    first = 0
    for length in LENGTHS:
        rows = slice(first, first + length)
        with torch.no_grad():
            alone = block(x[rows], layout_of([length], config))
        # every number of a row is computed in one order, whoever is beside it
        assert torch.equal(alone, together["y"][rows])
        first += length
    parts = x.split(LENGTHS)
    leaves = [part.clone().requires_grad_() for part in parts]
    y = torch.cat([block(leaf, layout_of([len(leaf)], config)) for leaf in leaves])
    upstream = torch.randn(y.shape, generator=torch.Generator().manual_seed(4)).to(dtype)
    names, weights = zip(*block.named_parameters(), strict=True)
    grads = torch.autograd.grad(y, [*leaves, *weights], upstream)
    assert torch.equal(torch.cat(grads[: len(LENGTHS)]), together["x"])
    for name, grad in zip(names, grads[len(LENGTHS) :], strict=True):
        torch.testing.assert_close(grad, together[name], rtol=bound, atol=bound * float(grad.abs().max()))


@KINDS
def test_threads_change_no_bit(kind: str, layer: Make, layout_of: Lay, outcome: Outcome) -> None:
    block, config = layer(kind, torch.float32)
    lengths = [500, 3, 700, 80, 900]  # enough for more than one part
    layout = layout_of(lengths, config)
    assert len(layout.parts) > 2
    x = torch.randn(sum(lengths), config.hidden_size)
    alone = outcome(block, x, layout, compiled=True)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        together = outcome(block, x, layout, compiled=True)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(part, together[name]) for name, part in alone.items())


@KINDS
def test_nothing_unwritten_is_read(kind: str, layer: Make, layout_of: Lay, outcome: Outcome, nan_buffers: None) -> None:
    block, config = layer(kind, torch.float32, **{k: v for k, v in ODD.items() if k != "chunk_size"})
    x = torch.randn(50, config.hidden_size)
    found = outcome(block, x, layout_of([7, 43], config), compiled=True)
    assert all(torch.isfinite(part).all() for part in found.values())


@KINDS
def test_a_second_backward_gives_the_same(kind: str, layer: Make, layout_of: Lay) -> None:
    block, config = layer(kind, torch.float32)
    x = torch.randn(33, config.hidden_size, requires_grad=True)
    y = block(x, layout_of([33], config)).square().sum()
    (first,) = torch.autograd.grad(y, [x], retain_graph=True)
    (again,) = torch.autograd.grad(y, [x])
    assert torch.equal(first, again)


@KINDS
def test_what_is_not_plain_goes_step_by_step(kind: str, layer: Make, layout_of: Lay) -> None:
    block, config = layer(kind, torch.float32)
    layout = layout_of([4], config)
    x = torch.randn(4, config.hidden_size)
    takes = lambda: native.takes(x, block.norm, block.mixer, layout)  # noqa: E731
    assert takes()
    assert not native.takes(x.bfloat16(), block.norm, block.mixer, layout)
    assert not native.takes(x.double(), block.norm, block.mixer, layout)  # another dtype than the weights'
    handle = block.norm.register_forward_hook(lambda *_: None)
    assert not takes()
    handle.remove()
    name, part = next((name, part) for name, part in block.mixer.named_children())
    setattr(block.mixer, name, _Other(part))
    assert not takes()


class _Other(torch.nn.Module):
    """Some other module in the place of ours."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner
