"""All layers in one compiled call: the numbers of the layers called one by one, to the bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from model.cache import StateCache
from model.config import HybridConfig
from model.layers import native
from model.routing import record_experts, replay_experts
from model.stack import HybridModel

LENGTHS = [500, 3, 700, 80, 900]  # enough for more than one part
PATTERNS = pytest.mark.parametrize("pattern", ["MEM*EME", "M", "*", "E", "EE*M"])


def built(dtype: torch.dtype = torch.float32, **overrides: object) -> HybridModel:
    return HybridModel(HybridConfig.tiny(48, **overrides), dtype=dtype).train()


def packed(lengths: list[int]) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(5)
    return torch.randint(48, (sum(lengths),), generator=draw), torch.tensor([0, *lengths]).cumsum(0)


@contextmanager
def one_by_one() -> Iterator[None]:
    with patch.object(native, "takes_all", lambda *_: False):
        yield


def gradients(model: HybridModel, lengths: list[int]) -> dict[str, Tensor]:
    """The output, every gradient and the expert counts of one training pass."""
    token_ids, bounds = packed(lengths)
    model.zero_grad(set_to_none=True)
    for mixer in model.moe_layers():
        mixer.expert_counts.zero_()
    hidden = model(token_ids, bounds)
    upstream = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(4)).to(hidden.dtype)
    hidden.backward(upstream)
    found = {name: part.grad.clone() for name, part in model.named_parameters() if part.grad is not None}
    counts = {f"counts {i}": mixer.expert_counts.clone() for i, mixer in enumerate(model.moe_layers())}
    return {"hidden": hidden.detach(), **found, **counts}


def same(ours: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert ours.keys() == expected.keys()
    assert not [name for name, tensor in expected.items() if not torch.equal(ours[name], tensor)]


@PATTERNS
def test_equals_the_layers_one_by_one(pattern: str) -> None:
    model = built(hybrid_override_pattern=pattern)
    token_ids, bounds = packed(LENGTHS)
    blocks, layout = list(model.blocks()), model.layout(token_ids, bounds)
    assert len(layout.parts) > 2 and native.takes_all(model.embed(token_ids), blocks, layout)
    ours = gradients(model, LENGTHS)
    with one_by_one():
        same(ours, gradients(model, LENGTHS))
    with torch.no_grad():
        assert torch.equal(model(token_ids, bounds), ours["hidden"])


def test_recomputation_gives_the_same_bits() -> None:
    model = built()
    ours = gradients(model, LENGTHS)
    model.recompute("ME*")
    same(ours, gradients(model, LENGTHS))


def test_threads_change_no_bit() -> None:
    model = built()
    alone, before = gradients(model, LENGTHS), torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        same(gradients(model, LENGTHS), alone)
    finally:
        torch.set_num_threads(before)


def test_nothing_unwritten_is_read(nan_buffers: None) -> None:
    found = gradients(built(hidden_size=20, head_dim=5, moe_intermediate_size=7, chunk_size=9), [7, 43])
    assert all(torch.isfinite(part).all() for part in found.values())


def test_gradients_equal_those_of_a_model_step_by_step(step_by_step: None) -> None:
    expected = gradients(built(torch.float64), [3, 40, 70])
    with patch("model.kernels.native.build.wanted", lambda: True):
        ours = gradients(built(torch.float64), [3, 40, 70])
    for name, want in expected.items():
        torch.testing.assert_close(ours[name], want, rtol=1e-9, atol=1e-11, msg=name)


def test_a_second_backward_gives_the_same_and_a_third_is_refused() -> None:
    model, (token_ids, bounds) = built(), packed([33, 8])
    y = model(token_ids, bounds).square().sum()
    weights = list(model.layers.parameters())
    first = torch.autograd.grad(y, weights, retain_graph=True)
    again = torch.autograd.grad(y, weights)
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(y, weights)


def test_a_weight_changed_before_backward_is_refused() -> None:
    model, (token_ids, bounds) = built(), packed([20])
    y = model(token_ids, bounds).sum()
    with torch.no_grad():
        next(model.layers.parameters()).mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_a_frozen_gate_gets_no_gradient() -> None:
    model = built()
    model.freeze_router()
    ours = gradients(model, LENGTHS)
    assert not any("gate.weight" in name for name in ours)
    with one_by_one():
        same(ours, gradients(model, LENGTHS))


def test_a_listener_sends_every_layer_its_own_way() -> None:
    model, (token_ids, bounds) = built(), packed([20])
    layout, met = model.layout(token_ids, bounds), list[int]()
    handle = next(model.blocks()).norm.register_forward_hook(lambda *_: met.append(1))
    assert not native.takes_all(model.embed(token_ids), list(model.blocks()), layout)
    handle.remove()


def test_who_listens_to_a_whole_layer_is_called() -> None:
    model, met = built(), list[str]()
    expected = gradients(model, [20])
    layer = next(model.blocks())
    layer.register_forward_hook(lambda *_: met.append("forward"))
    layer.register_full_backward_hook(lambda *_: met.append("backward"))
    same(gradients(model, [20]), expected)
    assert met == ["forward", "backward"]


def test_records_are_kept_and_replayed() -> None:
    model, (token_ids, bounds) = built(), packed([30, 9])
    with record_experts(model) as record:
        model(token_ids, bounds)
        chosen = record.take()
    turned = (chosen.to(torch.int64) + 1) % model.config.n_routed_experts
    with replay_experts(model, turned), record_experts(model) as record:
        replayed = model(token_ids, bounds)
        assert torch.equal(record.take().to(torch.int64), turned)
    with replay_experts(model, turned), one_by_one():
        assert torch.equal(model(token_ids, bounds), replayed)


@pytest.mark.parametrize(("pattern", "reads"), [("MEM*EME", 1), ("EMM", 2), ("E*", 1), ("*", 2)])
def test_prefill_equals_the_layers_one_by_one(pattern: str, reads: int) -> None:
    model, (token_ids, bounds) = built(hybrid_override_pattern=pattern).eval(), packed([40, 7])
    outcomes, in_one = [], []
    for form in (nullcontext(), one_by_one()):
        cache = StateCache(model.config, 4, 200)
        with form, patch.object(native, "read_all", wraps=native.read_all) as spy:
            read = [model.prefill(token_ids, bounds, cache, [3, 1], all_hidden=True) for _ in range(reads)]
        in_one.append(spy.call_count)
        outcomes.append([*read, cache.conv, cache.ssm, cache.keys, cache.values, cache.lengths])
    assert in_one == [1 if "*" in pattern else reads, 0]  # a second part meets keys of the first
    assert all(torch.equal(one, other) for one, other in zip(*outcomes, strict=True))
