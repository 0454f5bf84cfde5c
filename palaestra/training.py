"""A training run from recipe to report: services up, warm start, evaluation, reinforcement, evaluation, evidence.

    oracles ─▶ demonstrations ─▶ warm start ─▶ before ─▶ GRPO │ more warm start │ GRPO on shuffled rewards ─▶ after

Environments and the agent server are processes; learner and policy engine are Ray actors, or live here (`local`).
Whatever ends a run, its services end with it and what was finished is kept.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import msgspec

from gym_core.registry import Registry
from gym_core.seeds import derive
from gym_core.store import Run, Store
from model.kernels.native import build as native_build
from palaestra import demonstrations
from palaestra.heldout import DEADLINE_S, Record, heldout_rows, score
from palaestra.heldout import FILE as RECORD
from palaestra.house import connect, draw_tasks, start_agent, start_environments
from palaestra.live import View
from palaestra.meter import Meter
from palaestra.run_folder import RunFolder, grpo_cpu_seconds
from palaestra.summary import finish
from trainer.checkpointing import Checkpoints
from trainer.collect import AgentPool, Row
from trainer.config import Recipe
from trainer.curriculum import Curriculum
from trainer.evaluate import Evaluation
from trainer.grpo import Event, Grpo, version_of
from trainer.journal import Journal
from trainer.metrics import StoreWriter, TensorBoardWriter, Writer
from trainer.placement import Handle, LocalPlacement, Placement, RayPlacement
from trainer.publisher import WeightPublisher, probe_rows
from trainer.recall import Recall
from trainer.sft import read_demonstrations, warm_start


@dataclass(slots=True)
class Line:
    """The running services of a run and what connects to them."""

    recipe: Recipe
    folder: RunFolder
    store: Store
    placement: Placement
    meter: Meter
    view: View
    environment_url: str = ""
    learner: Handle = field(default=cast(Handle, None))
    policy: Handle = field(default=cast(Handle, None))
    agents: AgentPool = field(default=cast(AgentPool, None))
    publisher: WeightPublisher = field(default=cast(WeightPublisher, None))
    train_rows: dict[str, list[Row]] = field(default_factory=dict)
    heldout_rows: dict[str, list[Row]] = field(default_factory=dict)
    phases: dict[str, dict[str, float]] = field(default_factory=dict)


async def train(
    recipe: Recipe, *, runs_dir: Path, view: View, meter: Meter, local: bool = False, resume: Path | None = None
) -> dict[str, Any]:
    """Run a recipe to its end and return its summary. Raises typed errors; the run's folder keeps what was done."""
    folder = RunFolder.existing(resume) if resume else RunFolder.create(runs_dir, recipe)
    store = await Store.open(str(folder.store))
    try:
        if await store.run(folder.run_id) is None:  # also when a run was killed before it got so far
            await store.create_run(
                Run(
                    run_id=folder.run_id,
                    kind="train",
                    recipe=msgspec.to_builtins(recipe),
                    seed=recipe.seed,
                    arm=recipe.arm,
                )
            )
        with view:
            summary = await _train(
                recipe, folder, store, view, meter, runs_dir, local=local, resumed=resume is not None
            )
        await store.finish_run(folder.run_id, "finished", summary)
        return summary
    except BaseException:
        await store.finish_run(folder.run_id, "failed", {})
        raise
    finally:
        await store.close()


async def _train(
    recipe: Recipe,
    folder: RunFolder,
    store: Store,
    view: View,
    meter: Meter,
    runs_dir: Path,
    *,
    local: bool,
    resumed: bool,
) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        view.phase("starting services")
        await asyncio.to_thread(native_build.prepare)
        placement = await _placement(local)
        stack.push_async_callback(placement.close)
        line = Line(recipe, folder, store, placement, meter, view)
        environments = await start_environments(list(recipe.environments), folder.path / "logs", stack)
        line.environment_url = environments.url
        await _warm(line, resumed)
        await _connect(line, stack)
        before = await _evaluate(line, "before", folder.before, Recall(0) if resumed else None)
        view.before({name: score.mean for name, score in before["sampled"].environments.items()})
        async with _phase(line, "train"):
            if recipe.arm == "sft":
                await _more_warm_start(line, grpo_cpu_seconds(runs_dir, recipe))
                await line.publisher.publish(line.learner, 1)
            else:
                await _reinforce(line)
        await line.learner.call("save_model", str(folder.after), str(folder.tokenizer))
        version = 1 if recipe.arm == "sft" else version_of(recipe.grpo.steps)
        after = await _evaluate(line, "after", folder.after, Recall(version) if resumed else None)
        view.phase("writing the report")
        return await finish(line, before, after)


@asynccontextmanager
async def _phase(line: Line, name: str) -> AsyncIterator[None]:
    """Account a phase's wall and CPU seconds (all processes)."""
    began, cpu = line.meter.seconds, line.meter.cpu_seconds()
    yield
    line.phases[name] = {
        "seconds": round(line.meter.seconds - began, 2),
        "cpu_seconds": round(line.meter.cpu_seconds() - cpu, 2),
    }


async def _placement(local: bool) -> Placement:
    if local:
        return LocalPlacement()
    return await asyncio.to_thread(RayPlacement, os.environ.get("RAY_ADDRESS"))


async def _warm(line: Line, resumed: bool) -> None:
    """Demonstrations, tokenizer, a fresh learner, and its warm start; a resumed run finds them in its folder."""
    from model.tokenizer import Tokenizer

    recipe, folder, view = line.recipe, line.folder, line.view
    async with _phase(line, "demonstrations"):
        if not resumed or not folder.demonstrations.is_file():
            view.phase("playing demonstrations")
            counts = await asyncio.to_thread(_write_demonstrations, recipe, folder)
            folder.write_json("demonstrations.json", counts)
        tokenizer = Tokenizer.load(folder.tokenizer)
    from palaestra.placed import place_learner

    begun = str(folder.before) if resumed and (folder.before / "config.json").is_file() else None
    line.learner = await line.placement.place(place_learner, recipe, tokenizer.vocab_size, 1, begun)
    if begun:
        return
    async with _phase(line, "warm_start"):
        total = recipe.sft.lessons + recipe.sft.steps
        view.phase("warm start", total)
        lessons = await asyncio.to_thread(read_demonstrations, folder.lessons) if recipe.sft.lessons else []
        samples = await asyncio.to_thread(read_demonstrations, folder.demonstrations)

        async def on_step(step: int, metrics: dict[str, float]) -> None:
            view.advance(step, metrics)
            await line.store.put_metrics(folder.run_id, step - total, metrics)

        await warm_start(line.learner, samples, recipe.sft, seed=recipe.seed, lessons=lessons, on_step=on_step)
        await line.learner.call("save_model", str(folder.before), str(folder.tokenizer))


def _write_demonstrations(recipe: Recipe, folder: RunFolder) -> dict[str, Any]:
    """Flawless lessons and fallible demonstrations of different tasks, and the tokenizer both are written in."""
    from model.tokenizer import Tokenizer

    registry = Registry.discover()
    played: dict[Path, list[demonstrations.Demonstration]] = {}
    for path, error_rate, needed in (
        (folder.lessons, 0.0, recipe.sft.lessons > 0),
        (folder.demonstrations, recipe.sft.error_rate, True),
    ):
        for name, mix in recipe.environments.items() if needed else ():
            played.setdefault(path, []).extend(
                demonstrations.demonstrate(
                    registry.load(name).cls(),
                    seed=derive(recipe.seed, path.name),
                    level=mix.level,
                    tasks=mix.demonstrations,
                    error_rate=error_rate,
                )
            )
    tokenizer = Tokenizer.train(demonstrations.corpus(played[folder.demonstrations]), recipe.vocab_size)
    tokenizer.save(folder.tokenizer)
    return {path.name: demonstrations.write(path, known, tokenizer) for path, known in played.items()}


async def _connect(line: Line, stack: AsyncExitStack) -> None:
    """Policy server, agent server, publisher and task pools."""
    from palaestra.placed import PolicyHost
    from policy_server.config import PolicyConfig

    recipe, folder = line.recipe, line.folder
    line.view.phase("starting policy and agent")
    settings = PolicyConfig(checkpoint=str(folder.before), num_slots=192, enable_thinking=False)
    line.policy = await line.placement.place(PolicyHost, settings)
    policy_url = await line.policy.call("url")
    urls = {name: f"{line.environment_url}/{name}" for name in recipe.environments}
    agent = await start_agent(urls, policy_url, folder.store, folder.path / "logs", stack)
    agent_client = await stack.enter_async_context(connect(agent.url, retries=0))
    line.agents = AgentPool(agent_client, run_id=folder.run_id, seed=recipe.seed, deadline_s=DEADLINE_S)
    policy_client = await stack.enter_async_context(connect(policy_url))
    vocab_size = await line.learner.call("vocab_size")
    line.publisher = WeightPublisher(
        policy_client, probe_rows(vocab_size, seed=recipe.seed), gate=recipe.grpo.mismatch_gate
    )
    stack.push_async_callback(line.publisher.close)
    line.heldout_rows = await heldout_rows(line.environment_url, recipe)
    for name, mix in recipe.environments.items():
        line.train_rows[name] = await draw_tasks(
            line.environment_url, name, seed=recipe.seed, level=mix.level, count=mix.tasks, split="train"
        )


async def _evaluate(line: Line, name: str, model_dir: Path, recalled: Recall | None = None) -> dict[str, Evaluation]:
    """Held-out reward of the weights that are served now, written beside the checkpoint they are saved in."""
    recipe = line.recipe
    line.view.phase(f"evaluating {name}: {len(recipe.environments) * recipe.eval.tasks} held-out tasks")
    async with _phase(line, f"evaluate_{name}"):
        found = await score(line.agents, line.heldout_rows, recipe, name, recalled)
    record = Record(recipe=msgspec.to_builtins(recipe), name=name, run_id=line.folder.run_id, evaluation=found)
    line.folder.write_json(f"{model_dir.name}/{RECORD}", record)
    return found


async def _reinforce(line: Line) -> None:
    recipe, folder = line.recipe, line.folder
    line.view.phase("GRPO" if recipe.arm == "grpo" else "GRPO on shuffled rewards", recipe.grpo.steps)
    curriculum = Curriculum(
        line.train_rows,
        {name: mix.weight for name, mix in recipe.environments.items()},
        prompts_per_step=recipe.grpo.prompts_per_step,
        steps=recipe.grpo.steps,
        seed=recipe.seed,
        start=recipe.grpo.curriculum_start,
        end=recipe.grpo.curriculum_end,
        sigma=recipe.grpo.curriculum_sigma,
    )
    writers: list[Writer] = [StoreWriter(line.store, folder.run_id), TensorBoardWriter(folder.path / "tensorboard")]

    def on_event(event: Event) -> None:
        if event.kind == "step":
            line.view.advance(event.step + 1, event.values)

    grpo = Grpo(
        recipe,
        learner=line.learner,
        agents=line.agents,
        publisher=line.publisher,
        curriculum=curriculum,
        journal=Journal(folder.path / "journal.jsonl"),
        checkpoints=Checkpoints(folder.path / "checkpoints", recipe.keep_checkpoints),
        writers=writers,
        on_event=on_event,
    )
    try:
        await grpo.run()
    finally:
        for writer in writers:
            await writer.close()


async def _more_warm_start(line: Line, cpu_seconds: float | None) -> None:
    """The control arm: what GRPO's phase cost, spent on more of the same demonstrations."""
    recipe = line.recipe
    budget = cpu_seconds if cpu_seconds is not None else recipe.sft.control_cpu_seconds
    line.view.phase(f"more warm start, {budget:.0f} CPU-s")
    samples = await asyncio.to_thread(read_demonstrations, line.folder.demonstrations)

    def on_step(step: int, metrics: Mapping[str, float]) -> None:
        line.view.advance(step, metrics)

    await warm_start(
        line.learner,
        samples,
        recipe.sft,
        seed=recipe.seed,
        on_step=on_step,
        cpu_seconds=budget,
        first_batch=recipe.sft.steps,
    )
