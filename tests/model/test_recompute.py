"""Activation checkpointing: the same gradients to the bit, the same counts, less kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from model.stack import HybridModel

Build = Callable[..., HybridModel]
Pack = Callable[..., tuple[Tensor, Tensor]]


def gradients(model: HybridModel, token_ids: Tensor, bounds: Tensor) -> dict[str, Tensor]:
    """Gradients by name, and the expert counts after one training pass."""
    model.zero_grad(set_to_none=True)
    for mixer in model.moe_layers():
        mixer.expert_counts.zero_()
    logprobs, entropy = model.token_logprobs(model(token_ids, bounds), token_ids.roll(-1))
    (logprobs.sum() + entropy.mean()).backward()
    found = {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}
    return found | {f"counts {i}": mixer.expert_counts.clone() for i, mixer in enumerate(model.moe_layers())}


@pytest.mark.parametrize("letters", ["M", "E", "*", "ME", "M*E"])
def test_gradients_and_counts_stay_to_the_bit(build: Build, pack: Pack, letters: str) -> None:
    token_ids, bounds = pack([9, 30, 17])
    model = build()
    expected = gradients(model, token_ids, bounds)
    model.recompute(letters)
    again = gradients(model, token_ids, bounds)
    assert again.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(again[name], tensor), name
    assert again["counts 0"].sum() == len(token_ids) * model.config.num_experts_per_tok


def test_the_counted_mask_holds(build: Build, pack: Pack) -> None:
    token_ids, bounds = pack([9, 20])
    model = build()
    model.recompute("E")
    model(token_ids, bounds, torch.arange(29) < 11).sum().backward()
    assert all(mixer.expert_counts.sum() == 11 * 2 for mixer in model.moe_layers())


def test_a_frozen_router_stays_frozen(build: Build, pack: Pack) -> None:
    token_ids, bounds = pack([9, 20])
    model = build()
    model.freeze_router()
    expected = gradients(model, token_ids, bounds)
    model.recompute("ME*")
    again = gradients(model, token_ids, bounds)
    assert not any("gate" in name for name in again)
    assert all(torch.equal(again[name], tensor) for name, tensor in expected.items())


def bytes_kept(model: HybridModel, token_ids: Tensor, bounds: Tensor) -> int:
    """Bytes of distinct tensors that the forward pass keeps for its backward, weights not counted."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        hidden = model(token_ids, bounds)
    assert hidden.requires_grad
    return sum(kept.values())


@pytest.mark.parametrize(("form", "most"), [("native", 0.25), ("step_by_step", 0.1)], indirect=["form"])
def test_what_is_recomputed_is_not_kept(build: Build, pack: Pack, form: str, most: float) -> None:
    token_ids, bounds = pack([200, 56])
    model = build()
    everything = bytes_kept(model, token_ids, bounds)
    shares = {}
    for letters in ("M", "E", "*", "M*E"):
        model.recompute(letters)
        shares[letters] = bytes_kept(model, token_ids, bounds) / everything
    assert shares["M*E"] < most and all(share < 1 for share in shares.values())
    model.recompute("")
    assert bytes_kept(model, token_ids, bounds) == everything


def test_scoring_is_not_touched(build: Build, pack: Pack) -> None:
    token_ids, bounds = pack([9, 20])
    model = build()
    with torch.no_grad():
        expected = model(token_ids, bounds)
        model.recompute("M*E")
        assert torch.equal(model(token_ids, bounds), expected)


def test_unknown_letters_are_refused(build: Build) -> None:
    with pytest.raises(ValueError, match=r"recompute must be made of the letters .* got 'MX'"):
        build().recompute("MX")
