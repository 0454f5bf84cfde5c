"""A training run from recipe to report: services up, warm start, evaluation, reinforcement, evaluation, evidence.

    oracles ─▶ demonstrations ─▶ warm start ─▶ before ─▶ GRPO │ more warm start │ GRPO on shuffled rewards ─▶ after

Environments and the agent server are processes; learner and policy engine are Ray actors, or live here (`local`).
Whatever ends a run, its services end with it and what was finished is kept.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from gym_core.store import Run, Store
from model.kernels.native import build as native_build
from palaestra.connecting import connect_again, connect_line, environments_of
from palaestra.heldout import FILE as RECORD
from palaestra.heldout import Record, score
from palaestra.line import Line, phase
from palaestra.live import View
from palaestra.meter import Meter
from palaestra.refusals import refuse_what_cannot_run
from palaestra.reinforce import reinforce
from palaestra.run_folder import RunFolder, grpo_cpu_seconds
from palaestra.services import Services
from palaestra.summary import finish
from palaestra.warming import more_warm_start, warm
from trainer.config import Recipe
from trainer.evaluate import Evaluation
from trainer.grpo import version_of
from trainer.placement import LocalPlacement, Placement, RayPlacement
from trainer.recall import Recall


async def train(
    recipe: Recipe,
    *,
    runs_dir: Path,
    view: View,
    meter: Meter,
    local: bool = False,
    resume: Path | None = None,
    services: Services | None = None,
) -> dict[str, Any]:
    """Run a recipe to its end and return its summary. Raises typed errors; the run's folder keeps what was done.

    `services` that are named are used, the rest is started here.
    """
    services = services or Services()
    refuse_what_cannot_run(recipe, services)
    folder = RunFolder.existing(resume) if resume else RunFolder.create(runs_dir, recipe)
    store = await Store.open(services.store or str(folder.store))
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
                recipe, folder, store, view, meter, runs_dir, services, local=local, resumed=resume is not None
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
    services: Services,
    *,
    local: bool,
    resumed: bool,
) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        view.phase("starting services")
        await asyncio.to_thread(native_build.prepare)
        replicas = 0 if services.policy else recipe.policy.replicas
        placement = await _placement(local, recipe.layout.processes + replicas)
        stack.push_async_callback(placement.close)
        line = Line(recipe, folder, store, placement, meter, view, services)
        if not recipe.environment_actors:
            line.environment_urls = dict.fromkeys(recipe.environments, await environments_of(line, stack))
        await warm(line, resumed)
        stack.push_async_callback(line.connected.aclose)
        await connect_line(line)
        before = await _evaluate(line, "before", folder.before, Recall(0) if resumed else None)
        view.before({name: score.mean for name, score in before["sampled"].environments.items()})
        async with phase(line, "train"):
            if recipe.arm == "sft":
                await more_warm_start(line, grpo_cpu_seconds(runs_dir, recipe))
                await line.publisher.publish(line.learner, 1)
            else:
                await reinforce(line, partial(connect_again, line))
        await line.learner.call("save_model", str(folder.after), str(folder.tokenizer))
        version = 1 if recipe.arm == "sft" else version_of(recipe.grpo.steps)
        after = await _evaluate(line, "after", folder.after, Recall(version) if resumed else None)
        view.phase("writing the report")
        return await finish(line, before, after)


async def _placement(local: bool, actors: int) -> Placement:
    if local:
        return LocalPlacement()
    # One for each process of the learner and each replica of the policy, near each other: weights go by shared memory.
    places = [{"CPU": 1.0}] * actors
    return await asyncio.to_thread(partial(RayPlacement, os.environ.get("RAY_ADDRESS"), bundles=places))


async def _evaluate(line: Line, name: str, model_dir: Path, recalled: Recall | None = None) -> dict[str, Evaluation]:
    """Held-out reward of the weights that are served now, written beside the checkpoint they are saved in."""
    recipe = line.recipe
    line.view.phase(f"evaluating {name}: {len(recipe.environments) * recipe.eval.tasks} held-out tasks")
    async with phase(line, f"evaluate_{name}"):
        found = await score(line.agents, line.heldout_rows, recipe, name, recalled)
    record = Record(recipe=msgspec.to_builtins(recipe), name=name, run_id=line.folder.run_id, evaluation=found)
    line.folder.write_json(f"{model_dir.name}/{RECORD}", record)
    return found
