"""A GRPO step in a layout is the step of one process: four processes, gloo, fp64."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_hybrid import SHAPE

from gym_core.errors import BadRequest
from model.checkpoint import load_pretrained, save_pretrained
from model.config import HybridConfig
from model.stack import HybridModel
from trainer.config import Recipe, parse_recipe
from trainer.learner import Learner
from trainer.pack import Sample
from trainer.placement import ActorDied, Handle, LocalPlacement
from trainer.sharded_learner import build_sharded_learner

VOCAB = 13
LAYERS = 2  # of experts, below
GRPO: dict[str, Any] = dict(
    minibatches=2,
    lr=0.01,
    temperature=0.7,
    tokens_per_microbatch=24,
    mismatch_gate=100.0,
    expert_bias_rate=0.01,
    grad_clip=0.05,
)
Spread = Callable[..., Any]


def recipe(layout: dict[str, Any] | None = None, **objective: Any) -> Recipe:
    return parse_recipe(
        {"name": "r", "environments": {"a": {}}, "vocab_size": VOCAB, "model": SHAPE, "grpo": GRPO}
        | {"layout": layout or {}, "objective": objective}
    )


def original() -> HybridModel:
    model = HybridModel(HybridConfig.tiny(VOCAB, **SHAPE), dtype=torch.float64, seed=4)
    with torch.no_grad():
        for mixer in model.moe_layers():
            mixer.gate.e_score_correction_bias.copy_(torch.linspace(-0.1, 0.1, 8))
    return model


def one_process(asked: Recipe) -> Learner:
    learner = Learner(original(), asked.grpo, asked.objective, seed=asked.seed)
    learner.begin("grpo", asked.grpo.lr)
    return learner


def batches(make_samples: Callable[..., list[Sample]], count: int = 2, recorded: bool = False) -> list[list[Sample]]:
    """Samples of many lengths, a few of them without advantage, some with the experts of their sampler."""
    draw = np.random.default_rng(5)
    made = [make_samples(original(), count=11, vocab_size=VOCAB, shift=0.05, seed=seed) for seed in range(count)]
    for sample in (s for batch in made for s in batch[::2] if recorded):
        sample.routed_experts = draw.random((len(sample), LAYERS, 8)).argsort(-1)[..., :2]
        sample.routed_experts[-1] = -1
    return made


@pytest.fixture
async def spread(tmp_path: Path) -> AsyncIterator[Spread]:
    """spread(recipe) -> a learner of as many processes as its layout asks for, begun on the original's weights."""
    placement = LocalPlacement()
    save_pretrained(original(), tmp_path / "original")

    async def place(asked: Recipe, begin: bool = True) -> Handle:
        world = asked.layout.dp * asked.layout.tp * asked.layout.cp
        handle = await placement.place_ranks(
            world, build_sharded_learner, asked, str(tmp_path / "original"), torch.float64
        )
        if begin:
            await handle.call("begin", "grpo", asked.grpo.lr)
        return handle

    yield place
    await placement.close()


def apart(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    assert found.keys() == expected.keys()
    return max(float((found[name].double() - tensor.double()).abs().max()) for name, tensor in expected.items())


async def exported(handle: Handle, path: Path) -> dict[str, torch.Tensor]:
    """What would be published, whose checksums are the learner's."""
    assert await handle.call("export", str(path))
    return load_file(path)


def told(learner: Learner, path: Path) -> dict[str, torch.Tensor]:
    learner.export(path)
    return load_file(path)


def same_metrics(found: dict[str, float], expected: dict[str, float]) -> None:
    assert found.keys() == expected.keys()
    for name in expected.keys() - {"policy_training_time"}:
        assert found[name] == pytest.approx(expected[name], rel=1e-9, abs=1e-9), name


async def test_experts_and_shards_over_four_processes_step_as_one(make_samples, spread: Spread, tmp_path: Path) -> None:
    """Loss, norm, every metric, the published weights and biases; then the checkpoint, in other layouts."""
    asked = recipe({"dp": 4, "ep": 2, "recompute": "ME*"})
    alone, four = one_process(asked), await spread(asked)
    first, second = batches(make_samples, recorded=True)
    before = told(alone, tmp_path / "before")
    same_metrics(await four.call("step", first, 0), alone.step(first, 0))
    here, there = told(alone, tmp_path / "here"), await exported(four, tmp_path / "there")
    assert apart(there, here) <= 1e-9
    assert all(torch.equal(there[n], before[n]) for n in before if n.endswith("gate.weight")), "the gates are frozen"
    biases = [n for n in before if n.endswith("e_score_correction_bias")]
    assert len(biases) == LAYERS
    assert all(torch.equal(there[n], here[n]) and not torch.equal(there[n], before[n]) for n in biases)
    rows = [[1, 2, 3, 4], [5, 6]]
    for found, expected in zip(await four.call("score", rows), alone.score(rows), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)
    saved = tmp_path / "saved"
    saved.mkdir()
    await four.call("save", str(saved))
    await four.close()
    # On with one process and with two, from the files that four wrote.
    resumed = Learner(original(), asked.grpo, asked.objective, seed=asked.seed)
    resumed.model.load_state_dict(load_pretrained(saved / "model", dtype=torch.float64).state_dict())
    resumed.load_state_dict(torch.load(saved / "learner.pt", weights_only=True), asked.grpo.lr)
    two = await spread(recipe({"dp": 1, "cp": 2}), begin=False)
    await two.call("load", str(saved), asked.grpo.lr)
    same_metrics(await two.call("step", second, 1), alone.step(second, 1))
    resumed.step(second, 1)
    straight = told(alone, tmp_path / "straight")
    assert apart(told(resumed, tmp_path / "resumed"), straight) <= 1e-9
    assert apart(await exported(two, tmp_path / "two"), straight) <= 1e-9


async def test_stretches_and_heads_with_an_anchor_and_whole_sequences(
    make_samples, spread: Spread, tmp_path: Path
) -> None:
    """One sequence of each batch is dropped: its tokens leave the normaliser on every process."""
    gspo = {"preset": "gspo", "clip_low": 0.2, "clip_high": 0.2}
    asked = recipe({"cp": 2, "tp": 2, "ep": 2}, **gspo, kl_coef=0.3, sequence_error_max=2.0)
    alone, four = one_process(asked), await spread(asked)
    for step, batch in enumerate(batches(make_samples)):
        batch[1].logprobs = batch[1].logprobs - batch[1].loss_mask
        same_metrics(await four.call("step", batch, step), alone.step(batch, step))
    assert apart(await exported(four, tmp_path / "there"), told(alone, tmp_path / "here")) <= 1e-9


async def test_fewer_samples_than_replicas_and_none_to_learn_from(make_samples, spread: Spread, tmp_path: Path) -> None:
    asked = recipe({"dp": 2, "cp": 2})
    alone, four = one_process(asked), await spread(asked)
    (batch,) = batches(make_samples, 1)
    same_metrics(await four.call("step", batch[:1], 0), alone.step(batch[:1], 0))
    for sample in batch:
        sample.advantage = 0.0
    same_metrics(await four.call("step", batch, 1), alone.step(batch, 1))
    assert apart(await exported(four, tmp_path / "there"), told(alone, tmp_path / "here")) <= 1e-9


async def test_a_refused_step_moves_nothing_and_a_lost_process_is_a_typed_error(
    make_samples, spread: Spread, tmp_path: Path
) -> None:
    two = await spread(recipe({"dp": 2}))
    (batch,) = batches(make_samples, 1)
    for sample in batch:
        sample.logprobs = sample.logprobs - 9.0 * sample.loss_mask
    with pytest.raises(Exception, match="token_mult_prob_error"):
        await two.call("step", batch, 0)
    kept = await exported(two, tmp_path / "kept")
    assert apart(kept, told(one_process(recipe()), tmp_path / "before")) == 0.0
    (tmp_path / "nowhere").write_text("a file where a folder should be")
    with pytest.raises(OSError, match="nowhere"):
        await two.call("save", str(tmp_path / "nowhere"))
    with pytest.raises(BadRequest, match="warm start"):
        await two.call("begin", "sft", 0.1)
    assert apart(await exported(two, tmp_path / "again"), kept) == 0.0, "it goes on after errors that all share"
    with pytest.raises(ActorDied, match="no_such"):
        await two.call("no_such")
    with pytest.raises(ActorDied, match="no_such"):
        await two.call("score", [[1, 2]])


async def test_a_layout_that_does_not_fit_is_refused(spread: Spread) -> None:
    with pytest.raises(BadRequest, match="ep 3 must divide") as caught:
        await spread(recipe({"dp": 2, "ep": 3}))
    assert caught.value.field == "layout"
