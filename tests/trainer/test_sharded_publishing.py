"""A learner of several processes publishes as one process does: the same bytes, by the same transports."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from small_hybrid import SHAPE

from gym_core.client import Client
from gym_core.errors import Unavailable
from gym_core.serve import start
from model import checkpoint, weight_layout
from model.checkpoint import save_pretrained
from model.config import HybridConfig
from model.stack import HybridModel
from model.tokenizer import Tokenizer
from model.weight_memory import open_memory
from policy_server.app import build_app
from policy_server.config import PolicyConfig
from policy_server.launch import embed
from trainer import transports
from trainer.config import Recipe, parse_recipe
from trainer.learner import Learner
from trainer.placement import Handle, LocalPlacement
from trainer.publisher import WeightPublisher
from trainer.sharded_learner import build_sharded_learner

VOCAB = 300
GRPO: dict[str, Any] = dict(lr=0.01, mismatch_gate=100.0, expert_bias_rate=0.01)
Spread = Callable[..., Any]


def recipe(**layout: int) -> Recipe:
    return parse_recipe(
        {"name": "r", "environments": {"a": {}}, "vocab_size": VOCAB, "model": SHAPE, "grpo": GRPO, "layout": layout}
    )


def original() -> HybridModel:
    return HybridModel(HybridConfig.tiny(VOCAB, **SHAPE), seed=4)


@pytest.fixture
async def spread(tmp_path: Path) -> AsyncIterator[Spread]:
    """spread(recipe) -> a learner of as many processes as its layout asks for, begun on the original's weights."""
    placement = LocalPlacement()
    save_pretrained(original(), tmp_path / "original")

    async def place(asked: Recipe) -> Handle:
        handle = await placement.place_ranks(
            asked.layout.processes, build_sharded_learner, asked, str(tmp_path / "original")
        )
        await handle.call("begin", "grpo", asked.grpo.lr)
        return handle

    yield place
    await placement.close()


async def test_weights_of_a_layout_lie_in_memory_as_one_process_lays_them(
    make_samples, spread: Spread, tmp_path: Path
) -> None:
    """To the bit: at first the checkpoint's, after a step those that are saved, gates as they were."""
    asked = recipe(dp=2, ep=2, tp=2)
    own, four = Learner(original(), asked.grpo, asked.objective).offer_weights(True), await spread(asked)
    offer = await four.call("offer_weights", True)
    assert offer.layout == own.layout and offer.handle.nbytes == own.handle.nbytes
    first = {name: tensor.clone() for name, tensor in lying(offer).items()}
    same(first, lying(own))
    await four.call("settle_weights", True, True)
    await four.call("step", make_samples(original(), count=7, vocab_size=VOCAB), 0)
    later = await four.call("offer_weights", True)
    assert later.handle != offer.handle, "what is served is not written to"
    await four.call("export", str(tmp_path / "weights"))
    same(lying(later), load_file(tmp_path / "weights"))
    same(lying(offer), first)
    still = {name for name, tensor in lying(later).items() if torch.equal(tensor, first[name])}
    assert still == {name for name in first if name.endswith("gate.weight")}, "all but the frozen gates have moved"
    assert later.checksums == weight_layout.checksums(lying(later).items()) == await four.call("weight_checksums")


def lying(offer: Any) -> dict[str, torch.Tensor]:
    return weight_layout.views(offer.layout, open_memory(offer.handle))


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert [name for name, tensor in expected.items() if not torch.equal(found[name], tensor)] == []


async def test_what_process_0_meets_alone_leaves_the_others_in_step(spread: Spread) -> None:
    two = await spread(recipe(dp=2))
    offer = await two.call("offer_weights", False)
    with pytest.raises(Unavailable):
        await two.call("send_weights", False, "http://127.0.0.1:9", {"version": 1}, 5.0)
    assert await two.call("weight_checksums") == offer.checksums


@pytest.mark.parametrize("name", ["shared_memory", "http", "disk"])
async def test_every_transport_that_leaves_its_process_serves_a_layout(make_samples, spread: Spread, name: str) -> None:
    two = await spread(recipe(dp=2, ep=2))
    tokenizer = Tokenizer.train(["two and three"] * 20, vocab_size=VOCAB)
    model = HybridModel(HybridConfig.tiny(VOCAB, **SHAPE), seed=9)
    engine = embed(model, tokenizer, PolicyConfig(num_slots=2, num_prefixes=0, max_length=64)).start()
    async with await start(build_app(engine, tokenizer)) as served, Client(served.url) as client:
        publisher = WeightPublisher(client, [[1, 2, 3, 4], [5, 6, 7]], transport=transports.make(name))
        for version in (1, 2, 3):
            await two.call("step", make_samples(original(), count=5, vocab_size=VOCAB, seed=version), version)
            metrics = await publisher.publish(two, version)
            assert metrics["publish/canary_abs_diff_max"] < 1e-4
            held = weight_layout.checksums(checkpoint.state_tensors(engine.model))
            assert engine.version == version and held == await two.call("weight_checksums")
        await publisher.close()
    await engine.close()
