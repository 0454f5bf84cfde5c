"""The reinforcement phase of a run: the loop over connected parts, begun again where an actor or a node was lost.

    Grpo.run ─▶ done
        └─▶ an error, and an actor is gone ─▶ place and connect again ─▶ Grpo.run from the last checkpoint

What was played before the loss is in the store and is not played again. A loss without Ray is the loss of this process.
"""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from gym_core.contracts import TaskProfile
from gym_core.errors import PalaestraError
from gym_core.telemetry import logger
from palaestra.heldout import validate
from palaestra.policies import SERVING
from palaestra.profiling import begin_with, profile_pools, sampling_of
from palaestra.stage import on_stage
from trainer.checkpointing import Checkpoints
from trainer.curriculum import Curriculum
from trainer.grpo import Event, Grpo
from trainer.journal import Journal
from trainer.metrics import StoreWriter, TensorBoardWriter, WandbWriter, Writer

if TYPE_CHECKING:
    from palaestra.line import Line

log = logger("train")


async def reinforce(line: Line, connect_again: Callable[[], Awaitable[None]]) -> None:
    """All steps. Where an actor or its node was lost, everything is placed again and the run goes on from its last
    checkpoint, `retries` times a run at most; any other error is the caller's."""
    recipe = line.recipe
    phase = "GRPO" if recipe.arm == "grpo" else "GRPO on shuffled rewards"
    for left in range(recipe.retries, -1, -1):
        line.view.phase(phase, recipe.grpo.steps)
        try:
            return await _run(line)
        except PalaestraError as error:
            lost = await line.placement.lost()
            if not lost or not left:
                raise
            why = f"{', '.join(lost)} lost ({error.code} in {error.stage or 'a step'})"
        log.warning("%s: placed again, the step is tried again; %d more times at most", why, left - 1)
        line.view.phase(f"{why}: placing again")
        await connect_again()


async def _run(line: Line) -> None:
    recipe, folder = line.recipe, line.folder
    curriculum = Curriculum(
        line.train_rows,
        {name: mix.weight for name, mix in recipe.environments.items()},
        prompts_per_step=recipe.grpo.prompts_per_step,
        steps=recipe.grpo.steps,
        seed=recipe.seed,
        start=recipe.grpo.curriculum_start,
        end=recipe.grpo.curriculum_end,
        sigma=recipe.grpo.curriculum_sigma,
        order=recipe.grpo.curriculum,
    )
    if recipe.grpo.profiles:
        begin_with(curriculum, Path(recipe.grpo.profiles))
    writers = _writers(line)

    def on_event(event: Event) -> None:
        if event.kind == "step":
            line.view.advance(event.step + 1, event.values)
        elif event.kind in ("unvalidated", "unprofiled"):
            log.warning("step %d: %s: %s", event.step + 1, event.kind, event.text)

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
        validate=partial(validate, line.agents, line.heldout_rows, recipe),
        profile=partial(_profile_again, line),
    )
    try:
        await grpo.run()
    finally:
        for writer in writers:
            await writer.close()


async def _profile_again(line: Line, checkpoint: Path, step: int) -> list[TaskProfile]:
    """Profiles of the pools by a checkpoint of this run, played beside it; a resumed run goes on with the same file."""
    recipe, folder = line.recipe, line.folder
    with tempfile.TemporaryDirectory(prefix="palaestra-best-") as place:
        beside = (*folder.tokenizer.iterdir(), folder.before / SERVING)
        for path in (*(checkpoint / "model").iterdir(), *beside):
            (Path(place) / path.name).symlink_to(path.resolve())
        async with on_stage(Path(place), recipe, f"{folder.run_id}-profile-{step}") as stage:
            found = await profile_pools(
                stage.agents,
                line.train_rows,
                checkpoint=checkpoint.name,
                repeats=recipe.grpo.profile_repeats,
                sampling=sampling_of(recipe),
                path=folder.path / f"profiles-{step:06d}.jsonl",
            )
    await line.store.put_profiles(found)
    return found


def _writers(line: Line) -> list[Writer]:
    """The store and TensorBoard, and Weights & Biases where the recipe names a project."""
    recipe, folder = line.recipe, line.folder
    writers: list[Writer] = [StoreWriter(line.store, folder.run_id), TensorBoardWriter(folder.path / "tensorboard")]
    if recipe.wandb:
        writers.append(
            WandbWriter(folder.path / "wandb", recipe.wandb, folder.run_id, config=msgspec.to_builtins(recipe))
        )
    return writers
