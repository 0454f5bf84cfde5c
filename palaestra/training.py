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
from functools import partial
from pathlib import Path
from typing import Any, cast

import msgspec

from gym_core.registry import Registry
from gym_core.seeds import derive
from gym_core.store import Run, Store
from model.kernels.native import build as native_build
from palaestra import demonstrations
from palaestra.heldout import FILE as RECORD
from palaestra.heldout import Record, heldout_rows, score
from palaestra.house import connect, draw_tasks, start_agent, start_environments
from palaestra.live import View
from palaestra.meter import Meter
from palaestra.refusals import refuse_what_cannot_run
from palaestra.reinforce import reinforce
from palaestra.run_folder import RunFolder, grpo_cpu_seconds
from palaestra.services import WEIGHTS, Services, hand_over, num_addresses
from palaestra.stage import DEADLINE_S
from palaestra.summary import finish
from trainer import transports
from trainer.collect import AgentPool, Row
from trainer.config import Recipe
from trainer.evaluate import Evaluation
from trainer.grpo import version_of
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
    services: Services = field(default_factory=Services)
    connected: AsyncExitStack = field(default_factory=AsyncExitStack)
    environment_urls: dict[str, str] = field(default_factory=dict)
    learner: Handle = field(default=cast(Handle, None))
    policy: Handle = field(default=cast(Handle, None))
    agents: AgentPool = field(default=cast(AgentPool, None))
    publisher: WeightPublisher = field(default=cast(WeightPublisher, None))
    train_rows: dict[str, list[Row]] = field(default_factory=dict)
    heldout_rows: dict[str, list[Row]] = field(default_factory=dict)
    phases: dict[str, dict[str, float]] = field(default_factory=dict)


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
        placement = await _placement(local, recipe.layout.processes + (not services.policy))
        stack.push_async_callback(placement.close)
        line = Line(recipe, folder, store, placement, meter, view, services)
        if not recipe.environment_actors:
            line.environment_urls = dict.fromkeys(recipe.environments, await _environments(line, stack))
        await _warm(line, resumed)
        stack.push_async_callback(line.connected.aclose)
        await _connect(line)
        before = await _evaluate(line, "before", folder.before, Recall(0) if resumed else None)
        view.before({name: score.mean for name, score in before["sampled"].environments.items()})
        async with _phase(line, "train"):
            if recipe.arm == "sft":
                await _more_warm_start(line, grpo_cpu_seconds(runs_dir, recipe))
                await line.publisher.publish(line.learner, 1)
            else:
                await reinforce(line, partial(_connect_again, line))
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


async def _placement(local: bool, actors: int) -> Placement:
    if local:
        return LocalPlacement()
    # The learner's and the policy's, near each other: weights go by shared memory.
    places = [{"CPU": 1.0}] * actors
    return await asyncio.to_thread(partial(RayPlacement, os.environ.get("RAY_ADDRESS"), bundles=places))


async def _warm(line: Line, resumed: bool) -> None:
    """Demonstrations, tokenizer, a fresh learner, and its warm start; a resumed run finds them in its folder.

    A recipe with a checkpoint begins with that instead.
    """
    from model.tokenizer import Tokenizer

    recipe, folder, view = line.recipe, line.folder, line.view
    if recipe.checkpoint:
        Tokenizer.load(Path(recipe.checkpoint)).save(folder.tokenizer)
        await _place_learner(line, str(folder.before) if _saved(folder.before) and resumed else recipe.checkpoint)
        await line.learner.call("save_model", str(folder.before), str(folder.tokenizer))
        return
    async with _phase(line, "demonstrations"):
        if not resumed or not folder.demonstrations.is_file():
            view.phase("playing demonstrations")
            counts = await asyncio.to_thread(_write_demonstrations, recipe, folder)
            folder.write_json("demonstrations.json", counts)
    if resumed and _saved(folder.before):
        await _place_learner(line, str(folder.before))
        return
    await _place_learner(line, None)
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
    if recipe.layout.processes > 1:  # the warm start was one process's: Muon wants whole matrices
        await line.placement.renew()
        await _place_learner(line, str(folder.before))


def _saved(directory: Path) -> bool:
    return (directory / "config.json").is_file()


async def _place_learner(line: Line, directory: str | None) -> None:
    """Fresh weights for the run's tokenizer, or those of a checkpoint: these in the recipe's layout."""
    from model.tokenizer import Tokenizer
    from palaestra.placed import place_learner, place_sharded_learner

    processes = line.recipe.layout.processes
    if directory is not None and processes > 1:
        line.learner = await line.placement.place_ranks(processes, place_sharded_learner, line.recipe, 1, directory)
        return
    vocab_size = Tokenizer.load(line.folder.tokenizer).vocab_size
    line.learner = await line.placement.place(place_learner, line.recipe, vocab_size, 1, directory)


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


async def _connect(line: Line) -> None:
    """Policy server, agent server, publisher and task pools."""
    recipe, folder, stack = line.recipe, line.folder, line.connected
    line.view.phase("starting policy and agent")
    policy_url = await _policy(line)
    if recipe.environment_actors:
        line.environment_urls = await _place_environments(line)
    agent_url = line.services.agent
    if not agent_url:
        urls = {name: f"{url}/{name}" for name, url in line.environment_urls.items()}
        store = line.services.store or folder.store
        agent_url = (await start_agent(urls, policy_url, store, folder.path / "logs", stack)).url
    _tell_services(line, agent_url, policy_url)
    agent_client = await stack.enter_async_context(connect(agent_url, retries=0))
    line.agents = AgentPool(
        agent_client,
        run_id=folder.run_id,
        seed=recipe.seed,
        deadline_s=DEADLINE_S,
        streams=await num_addresses(line.services.agent),
    )
    policy_client = await stack.enter_async_context(connect(policy_url))
    vocab_size = await line.learner.call("vocab_size")
    line.publisher = WeightPublisher(
        policy_client,
        probe_rows(vocab_size, seed=recipe.seed),
        transport=_transport(line),
        switch=recipe.policy.switch,
        gate=recipe.grpo.mismatch_gate,
        timeout_s=recipe.policy.publish_s,
    )
    stack.push_async_callback(line.publisher.close)
    line.heldout_rows = await heldout_rows(line.environment_urls, recipe)
    for name, mix in recipe.environments.items():
        line.train_rows[name] = await draw_tasks(
            line.environment_urls[name], name, seed=recipe.seed, level=mix.level, count=mix.tasks, split="train"
        )


async def _environments(line: Line, stack: AsyncExitStack) -> str:
    """Where all environments are served: as was named, else by a process started now."""
    if line.services.environments:
        return line.services.environments.rstrip("/")
    return (await start_environments(list(line.recipe.environments), line.folder.path / "logs", stack)).url


async def _place_environments(line: Line) -> dict[str, str]:
    """Environments dealt out to actors, which go where there is least; where each is served, by name."""
    from palaestra.hosted import EnvironmentHost

    names = list(line.recipe.environments)
    found: dict[str, str] = {}
    for number in range(min(line.recipe.environment_actors, len(names))):
        served = names[number :: line.recipe.environment_actors]
        host = await line.placement.place(EnvironmentHost, served)
        found |= dict.fromkeys(served, await host.call("url"))
    return found


def _tell_services(line: Line, agent_url: str, policy_url: str) -> None:
    """For dashboards, while they run."""
    hosts = list(dict.fromkeys(line.environment_urls.values()))
    services = {f"environments-{number}" if number else "environments": url for number, url in enumerate(hosts)}
    line.folder.write_json("services.json", services | {"agent": agent_url, "policy": policy_url})


async def _connect_again(line: Line) -> None:
    """New places for learner and policy, after one of them was lost; the learner takes its state from a checkpoint."""
    await line.connected.aclose()
    await line.placement.renew()
    await _place_learner(line, str(line.folder.before))
    await _connect(line)


async def _policy(line: Line) -> str:
    """Where the warm start is served: by the server that was named, else by an engine placed now."""
    from palaestra.placed import PolicyHost
    from policy_server.config import PolicyConfig

    recipe, folder = line.recipe, line.folder
    settings: dict[str, Any] = {"num_slots": 192, "enable_thinking": False}
    settings["deterministic"] = recipe.policy.deterministic
    if recipe.policy.max_length:
        settings["max_length"] = recipe.policy.max_length
    if line.services.policy:
        await hand_over(line.services, folder.before.absolute(), folder.run_id, **settings)
        return line.services.policy
    line.policy = await line.placement.place(PolicyHost, PolicyConfig(checkpoint=str(folder.before), **settings))
    return str(await line.policy.call("url"))


def _transport(line: Line) -> transports.Transport:
    """How weights reach the policy server. `auto` takes the fastest that the run allows."""
    if line.services.policy:  # a server of its own, which shares a folder with us
        folder = Path(line.services.shared).absolute() / WEIGHTS
        folder.mkdir(parents=True, exist_ok=True)
        return transports.Disk(folder)
    name = line.recipe.policy.transport
    if name == "auto":
        name = "shared_memory"
        if line.recipe.layout.processes > 1:
            name = "disk"
        elif isinstance(line.placement, LocalPlacement):
            name = "in_process"
        elif os.environ.get("RAY_ADDRESS"):  # learner and policy may be on different machines
            name = "http"
    return transports.make(name)


async def _evaluate(line: Line, name: str, model_dir: Path, recalled: Recall | None = None) -> dict[str, Evaluation]:
    """Held-out reward of the weights that are served now, written beside the checkpoint they are saved in."""
    recipe = line.recipe
    line.view.phase(f"evaluating {name}: {len(recipe.environments) * recipe.eval.tasks} held-out tasks")
    async with _phase(line, f"evaluate_{name}"):
        found = await score(line.agents, line.heldout_rows, recipe, name, recalled)
    record = Record(recipe=msgspec.to_builtins(recipe), name=name, run_id=line.folder.run_id, evaluation=found)
    line.folder.write_json(f"{model_dir.name}/{RECORD}", record)
    return found


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
