"""The warm start of a run: demonstrations, tokenizer, a learner, and what it learns from them.

oracles ─▶ demonstrations ─▶ tokenizer ─▶ learner in one process ─▶ warm start ─▶ `before`, in the recipe's layout
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gym_core.registry import Registry
from gym_core.seeds import derive
from palaestra import demonstrations
from palaestra.line import Line, phase
from palaestra.run_folder import RunFolder
from trainer.config import Recipe
from trainer.sft import read_demonstrations, warm_start


async def warm(line: Line, resumed: bool) -> None:
    """Demonstrations, tokenizer, a fresh learner, and its warm start; a resumed run finds them in its folder.

    A recipe with a checkpoint begins with that instead.
    """
    from model.tokenizer import Tokenizer

    recipe, folder, view = line.recipe, line.folder, line.view
    if recipe.checkpoint:
        Tokenizer.load(Path(recipe.checkpoint)).save(folder.tokenizer)
        await place_learner_of(line, str(folder.before) if _saved(folder.before) and resumed else recipe.checkpoint)
        await line.learner.call("save_model", str(folder.before), str(folder.tokenizer))
        return
    async with phase(line, "demonstrations"):
        if not resumed or not folder.demonstrations.is_file():
            view.phase("playing demonstrations")
            counts = await asyncio.to_thread(_write_demonstrations, recipe, folder)
            folder.write_json("demonstrations.json", counts)
    if resumed and _saved(folder.before):
        await place_learner_of(line, str(folder.before))
        return
    await place_learner_of(line, None)
    async with phase(line, "warm_start"):
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
        await place_learner_of(line, str(folder.before))


def _saved(directory: Path) -> bool:
    return (directory / "config.json").is_file()


async def place_learner_of(line: Line, directory: str | None) -> None:
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


async def more_warm_start(line: Line, cpu_seconds: float | None) -> None:
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
