"""The whole line through real services, tiny: what a run leaves behind, and that the parts of it agree."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from gym_core.errors import BadRequest
from gym_core.store import Store
from gym_core.tokens import TokenTrace, decode_trace
from palaestra.live import PlainView
from palaestra.meter import Meter
from palaestra.replay import replay_run
from palaestra.training import train
from trainer.config import Recipe, load_recipe, parse_recipe
from trainer.journal import Journal

STEPS, PROMPTS, GROUP, HELD_OUT = 2, 6, 6, 16

DEMONSTRATIONS = {"math": 200, "ledger": 24}

# Enough warm start that some answers are right: a batch without any difference of rewards would train nothing.
RECIPE = f"""
vocab_size = 480
[environments]
math = {{ level = 0, tasks = 32, demonstrations = {DEMONSTRATIONS["math"]}, weight = 2.0 }}
ledger = {{ level = 0, tasks = 16, demonstrations = {DEMONSTRATIONS["ledger"]} }}
[sft]
lessons = 60
steps = 10
batch = 24
error_rate = 0.2
[grpo]
steps = {STEPS}
prompts_per_step = {PROMPTS}
group_size = {GROUP}
max_output_tokens = 24
routing_replay = true
[eval]
tasks = {HELD_OUT}
"""


def recipe_in(folder: Path, **overrides: Any) -> Recipe:
    path = folder / "tiny.toml"
    path.write_text(RECIPE)
    return load_recipe(str(path), overrides)


def run_line(recipe: Recipe, runs_dir: Path, *, local: bool) -> tuple[Path, dict[str, Any]]:
    meter = Meter().start()
    try:
        summary = asyncio.run(train(recipe, runs_dir=runs_dir, view=PlainView(meter, "test"), meter=meter, local=local))
    finally:
        meter.stop()
    return runs_dir / summary["run_id"], summary


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one finished run, shared by the tests that look at it."""
    folder = tmp_path_factory.mktemp("line")
    return run_line(recipe_in(folder), folder / "runs", local=True)[0]


def read(run: Path, name: str) -> Any:
    return json.loads((run / name).read_bytes())


async def metrics_of(run: Path) -> list[dict[str, Any]]:
    async with await Store.open(str(run / "store.db"), create=False) as store:
        return [values for step, values in await store.metrics(run.name) if step >= 0]


async def rollouts(run: Path, purpose: str) -> AsyncIterator[tuple[Any, bytes]]:
    async with await Store.open(run / "store.db", create=False) as store:
        async for rollout, blob in store.iter_rollouts(run.name):
            if rollout.labels["purpose"] == purpose:
                yield rollout, blob


def test_the_summary_says_what_was_promised(run: Path) -> None:
    summary = read(run, "summary.json")
    for name in ("seconds", "cpu_seconds", "peak_memory_mb"):
        assert summary[name] > 0, name
    assert (summary["seed"], summary["arm"]) == (0, "grpo")
    for name in ("reward_before", "reward_after"):
        assert 0.0 <= summary[name] <= 1.0
    assert set(summary["environments"]) == {"math", "ledger"}
    for score in summary["environments"].values():
        assert 0.0 <= score["before"] <= 1.0 and 0.0 <= score["after"] <= 1.0
        assert score["num_tasks"] == HELD_OUT and score["num_failed"] == 0
    assert 1.0 <= summary["token_mult_prob_error_max"] <= 1.001
    assert (Path(summary["checkpoint"]) / "config.json").is_file()


async def test_experts_travel_from_the_engine_to_the_learner(run: Path) -> None:
    traces = [decode_trace(blob) async for _, blob in rollouts(run, "train")]
    assert traces
    for trace in traces:
        assert trace.routed_experts is not None
        unknown = (trace.routed_experts < 0).all((1, 2))
        read = trace.loss_mask[1:]  # the row of a token's predecessor is what it was drawn from
        assert not unknown[:-1][read].any() and unknown[-1]


class _Page(HTMLParser):
    """Collects text and keeps score of what is opened and closed."""

    void = frozenset({"meta", "br", "link", "img", "hr", "circle", "line", "polyline", "path", "rect"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.void:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_report_is_well_formed_and_holds_the_figures(run: Path) -> None:
    summary = read(run, "summary.json")
    page = _Page()
    page.feed((run / "report.html").read_text())
    page.close()
    assert page.open == [] and "svg" in page.tags
    text = " ".join(page.text)
    for name, score in summary["environments"].items():
        assert name in text and f"{score['before']:.3f}" in text and f"{score['after']:.3f}" in text


@pytest.mark.parametrize("name", ["before", "after"])
def test_checkpoints_load_here_and_in_transformers(run: Path, name: str) -> None:
    import torch
    from transformers import AutoTokenizer

    from model.checkpoint import load_pretrained
    from model.tokenizer import Tokenizer

    model = load_pretrained(run / name)
    ours, theirs = Tokenizer.load(run / name), AutoTokenizer.from_pretrained(str(run / name))
    text = "Add 4 to Bo. \\boxed{12} ünï"
    assert theirs(text, add_special_tokens=False)["input_ids"] == list(ours.encode(text))
    assert ours.vocab_size <= model.config.vocab_size
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


def test_training_moved_the_weights(run: Path) -> None:
    import torch

    from model.checkpoint import load_pretrained, state_tensors

    before, after = (dict(state_tensors(load_pretrained(run / name))) for name in ("before", "after"))
    assert not torch.equal(before["lm_head.weight"], after["lm_head.weight"])


async def test_every_rollout_is_stored_once_and_journalled(run: Path) -> None:
    trained = {rollout.rollout_id: rollout async for rollout, _ in rollouts(run, "train")}
    assert len(trained) == STEPS * PROMPTS * GROUP
    entries = Journal(run / "journal.jsonl").entries()
    assert [entry.step for entry in entries] == list(range(STEPS))
    assert len((run / "journal.jsonl").read_bytes().splitlines()) == STEPS
    journalled = {
        name: (outcome, reward)
        for entry in entries for members in entry.groups.values() for name, outcome, reward in members
    }  # fmt: skip
    assert journalled == {name: (rollout.outcome.value, rollout.reward) for name, rollout in trained.items()}
    for purpose in ("eval-before", "eval-after"):
        assert len([rollout async for rollout, _ in rollouts(run, purpose)]) == 2 * HELD_OUT


async def test_the_summary_can_be_derived_again_from_the_store(run: Path) -> None:
    summary = read(run, "summary.json")
    for name, score in summary["environments"].items():
        for when in ("before", "after"):
            rewards = [r.reward async for r, _ in rollouts(run, f"eval-{when}") if r.environment == name]
            assert sum(rewards) / len(rewards) == pytest.approx(score[when])


async def test_each_step_was_sampled_by_the_version_before_it(run: Path) -> None:
    async for rollout, blob in rollouts(run, "train"):
        trace = decode_trace(blob)
        assert set(trace.versions[trace.loss_mask].tolist()) == {rollout.step + 1}
        assert (trace.logprobs[trace.loss_mask] <= 0).all() and trace.loss_mask.any()


def prompt_of(trace: TokenTrace) -> tuple[int, ...]:
    return tuple(trace.token_ids[: int(trace.loss_mask.argmax())].tolist())


async def test_held_out_prompts_are_in_no_demonstration_and_no_training_step(run: Path) -> None:
    """Judged by the tokens themselves: what the policy was shown, not what we believe we drew."""
    held_out = {prompt_of(decode_trace(blob)) async for _, blob in rollouts(run, "eval-after")}
    assert len(held_out) == 2 * HELD_OUT
    assert held_out == {prompt_of(decode_trace(blob)) async for _, blob in rollouts(run, "eval-before")}
    trained = {prompt_of(decode_trace(blob)) async for _, blob in rollouts(run, "train")}
    assert trained and not held_out & trained
    for name in ("lessons.jsonl", "demonstrations.jsonl"):
        lines = [json.loads(line) for line in (run / name).read_bytes().splitlines()]
        shown = {tuple(line["token_ids"][: line["loss_mask"].index(1)]) for line in lines}
        assert len(lines) == sum(DEMONSTRATIONS.values()) and not held_out & shown


async def test_a_step_done_again_offline_gives_the_same_bits(run: Path) -> None:
    recipe = parse_recipe(read(run, "recipe.json"))
    for step in range(STEPS):
        compared = await replay_run(run, recipe, step)
        assert {"loss", "grad_norm", "token_mult_prob_error"} <= {number.name for number in compared}
        assert [number.name for number in compared if not number.same] == []


async def test_the_run_is_kept_as_finished(run: Path) -> None:
    async with await Store.open(run / "store.db", create=False) as store:
        kept = await store.run(run.name)
        assert kept is not None and kept.status == "finished"
        assert kept.summary == read(run, "summary.json")
        steps = [step for step, values in await store.metrics(run.name) if "token_mult_prob_error" in values]
        assert steps == list(range(STEPS))


@pytest.mark.slow
def test_the_same_line_on_ray(tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path, **{"grpo.steps": 1})
    run, summary = run_line(recipe, tmp_path / "runs", local=False)
    assert summary["token_mult_prob_error_max"] <= 1.001
    assert len(Journal(run / "journal.jsonl").entries()) == 1
    assert sum(score["num_failed"] for score in summary["environments"].values()) == 0


def test_a_run_from_a_checkpoint_begins_with_its_weights_and_has_no_warm_start(run: Path, tmp_path: Path) -> None:
    validated = {"eval.tasks": 4, "eval.every": 1, "eval.validation_tasks": 2, "eval.samples": 2}
    recipe = recipe_in(tmp_path, **{"checkpoint": str(run / "after"), "grpo.steps": 1, **validated})
    folder, summary = run_line(recipe, tmp_path / "runs", local=True)
    assert sorted(path.name for path in folder.glob("*.jsonl")) == ["journal.jsonl"]
    begun, given = (path / "model.safetensors" for path in (folder / "before", run / "after"))
    assert begun.read_bytes() == given.read_bytes()
    assert (folder / "tokenizer" / "tokenizer.json").read_bytes() == (run / "tokenizer" / "tokenizer.json").read_bytes()
    assert set(summary["phases"]) >= {"evaluate_before", "train", "evaluate_after"}
    (step,) = asyncio.run(metrics_of(folder))
    assert {"val/reward", "val/reward/math", "val/pass@1/ledger", "val/pass@2/math", "validation_time"} <= set(step)


@pytest.mark.parametrize(
    ("overrides", "field"),
    [
        ({"base": "nano"}, "checkpoint"),
        ({"checkpoint": "nowhere"}, "checkpoint"),
        ({"layout.dp": 0}, "layout.dp"),
        ({"policy.engine": "vllm"}, "policy"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_starts(
    overrides: dict[str, Any], field: str, tmp_path: Path
) -> None:
    with pytest.raises(BadRequest) as caught:
        run_line(recipe_in(tmp_path, **overrides), tmp_path / "runs", local=True)
    assert caught.value.field == field and not (tmp_path / "runs").exists()
