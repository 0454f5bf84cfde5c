"""Faults planted in how a policy server takes weights: each is found twice, by checksums and by the canary.

The first kind is found because the served tensors are not the learner's. For the second the server is made to vouch
for its tensors all the same, as one that computes with others than those it shows: then only what it computes tells.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
import torch
from torch import Tensor

from gym_core.client import Client
from gym_core.serve import start
from model import checkpoint, decode, weight_layout
from model.config import HybridConfig
from model.stack import HybridModel
from model.tokenizer import Tokenizer
from policy_server import app as policy_app
from policy_server import weights as policy_weights
from policy_server.app import build_app
from policy_server.config import PolicyConfig
from policy_server.engine import Engine
from policy_server.launch import embed
from trainer import transports
from trainer.config import GrpoRecipe, ObjectiveRecipe
from trainer.learner import Learner
from trainer.placement import Handle, LocalPlacement
from trainer.publisher import CanaryFault, PublishFault, WeightPublisher, probe_rows

CONFIG = HybridConfig.tiny(320)
PROBES = probe_rows(320, count=4, length=64)
Tensors = dict[str, Tensor]
Fault = Callable[[Tensors, Tensors], None]


def trained_model() -> HybridModel:
    """Weights that show what they do: large router biases, so that rounding them moves tokens to other experts."""
    model = HybridModel(CONFIG, seed=5)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, tensor in checkpoint.state_tensors(model):
            if name.endswith(".bias") or name.endswith("conv1d.weight"):
                tensor.add_(torch.randn(tensor.shape, generator=generator) * 0.3)
            elif "correction_bias" in name:
                tensor.add_(3.0 + torch.randn(tensor.shape, generator=generator) * 0.02)
            elif "experts." in name:
                tensor.mul_(3.0)
    return model


def make_learner() -> Learner:
    return Learner(trained_model(), GrpoRecipe(), ObjectiveRecipe())


def first(tensors: Tensors, what: str) -> str:
    return next(name for name in tensors if what in name)


def dropped_buffer(new: Tensors, old: Tensors) -> None:
    new[first(new, "correction_bias")].zero_()


def transposed_expert(new: Tensors, old: Tensors) -> None:
    up = new[first(new, "experts.0.up_proj")]  # [I, D]: its bytes read as if they were [D, I]
    up.copy_(up.clone().reshape(up.shape[1], up.shape[0]).t())


def stale_bias(new: Tensors, old: Tensors) -> None:
    name = first(new, "conv1d.bias")
    new[name].copy_(old[name])


def rounded_router_bias(new: Tensors, old: Tensors) -> None:
    for name, tensor in new.items():
        if "correction_bias" in name:
            tensor.copy_(tensor.bfloat16())


def stale_conv_weight(new: Tensors, old: Tensors) -> None:
    name = first(new, "conv1d.weight")
    new[name].copy_(old[name])


def swapped_experts(new: Tensors, old: Tensors) -> None:
    for which in ("up_proj", "down_proj"):
        one, two = (new[first(new, f"experts.{index}.{which}")] for index in (0, 1))
        kept = one.clone()
        one.copy_(two)
        two.copy_(kept)


def one_layer_left_at_the_old_version(new: Tensors, old: Tensors) -> None:
    for name, tensor in new.items():
        if ".layers.4." in name:
            tensor.copy_(old[name])


FAULTS: list[tuple[Fault, str]] = [
    (dropped_buffer, "correction_bias"),
    (transposed_expert, r"experts\.0\.up_proj"),
    (stale_bias, r"conv1d\.bias"),
    (rounded_router_bias, "correction_bias"),
    (stale_conv_weight, r"conv1d\.weight"),
    (swapped_experts, r"experts\.0\.down_proj"),
    (one_layer_left_at_the_old_version, r"layers\.4\."),
]


@pytest.fixture
async def learner() -> AsyncIterator[Handle]:
    placement = LocalPlacement()
    yield await placement.place(make_learner)
    await placement.close()


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    tokenizer = Tokenizer.train(["two and three is five"] * 20, vocab_size=320)
    engine = embed(HybridModel(CONFIG, seed=1), tokenizer, PolicyConfig(num_slots=4, max_length=128)).start()
    yield engine
    await engine.close()


@pytest.fixture
async def client(engine: Engine) -> AsyncIterator[Client]:
    tokenizer = Tokenizer.train(["two and three is five"] * 20, vocab_size=320)
    async with await start(build_app(engine, tokenizer)) as served, Client(served.url) as client:
        yield client


def plant(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the server take weights in its usual way and then damage what it serves, in memory of its own."""

    def adopt(model: HybridModel, memory: Tensor) -> None:
        old = {name: tensor.clone() for name, tensor in checkpoint.state_tensors(model)}
        weight_layout.adopt(model, memory.clone())
        with torch.no_grad():
            fault(dict(checkpoint.state_tensors(model)), old)

    monkeypatch.setattr(policy_weights, "weight_layout", _Patched(adopt))


class _Patched:
    """`model.weight_layout` with another `adopt`."""

    def __init__(self, adopt: Callable[[HybridModel, Tensor], None]) -> None:
        self.adopt = adopt

    def __getattr__(self, name: str) -> object:
        return getattr(weight_layout, name)


@pytest.mark.parametrize(("fault", "named"), FAULTS, ids=[fault.__name__ for fault, _ in FAULTS])
async def test_checksums_find(
    client: Client, learner: Handle, fault: Fault, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(fault, monkeypatch)
    publisher = WeightPublisher(client, PROBES, transport=transports.make("in_process"))
    with pytest.raises(PublishFault, match=f"different.*{named}"):
        await publisher.publish(learner, 1)


@pytest.mark.parametrize("fault", [fault for fault, _ in FAULTS], ids=lambda fault: fault.__name__)
async def test_the_canary_finds(client: Client, learner: Handle, fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(fault, monkeypatch)
    held = await learner.call("weight_checksums")

    async def vouch(engine: Engine) -> tuple[int, dict[str, str]]:
        return engine.version, held

    monkeypatch.setattr(policy_app, "audit", vouch)
    publisher = WeightPublisher(client, PROBES, transport=transports.make("in_process"))
    with pytest.raises(CanaryFault, match="canary error"):
        await publisher.publish(learner, 1)


async def test_without_a_fault_both_are_silent(client: Client, learner: Handle) -> None:
    metrics = await WeightPublisher(client, PROBES, transport=transports.make("in_process")).publish(learner, 1)
    assert metrics["publish/canary_abs_diff_max"] < 1e-4
    assert metrics["publish/canary_decode_abs_diff_max"] < 1e-4


async def test_the_canary_finds_decoding_that_goes_on_with_old_weights(
    client: Client, learner: Handle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading at once is right then, and so are all tensors: only decoding tells."""
    publisher = WeightPublisher(client, PROBES, transport=transports.make("in_process"))
    await client.post_json("/score", {"token_ids": PROBES, "decode": True})  # joins the weights of version 0
    monkeypatch.setattr(HybridModel, "forget_plan", lambda self: None)
    monkeypatch.setattr(decode.DecodePlan, "is_current", lambda self: True)
    with pytest.raises(CanaryFault, match="canary decode error"):
        await publisher.publish(learner, 1)
