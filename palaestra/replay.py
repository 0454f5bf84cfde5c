"""`palaestra train --replay STEP --resume RUN`: a step of a run once more, from what its folder holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from gym_core.errors import BadRequest
from gym_core.store import Store
from palaestra.options import print_table
from palaestra.run_folder import RunFolder
from trainer.checkpointing import Checkpoints, check_recipe, read_state
from trainer.config import Recipe
from trainer.journal import Journal
from trainer.played import Played, open_frame
from trainer.replay import Compared, replay

if TYPE_CHECKING:
    from trainer.learner import Learner


async def replay_run(path: Path, recipe: Recipe, step: int) -> list[Compared]:
    """The numbers of one step beside the journal's. Raises BadRequest for what the folder does not hold."""
    folder = RunFolder.existing(path)
    journal = folder.path / "journal.jsonl"
    if recipe.arm == "sft" or not journal.is_file():
        raise BadRequest(f"{path} has no journal of reinforcement steps", field="replay")
    if recipe.layout.processes > 1:
        raise BadRequest("the step of a layout is added up in another order than one process does", field="layout")
    checkpoint, start = _nearest(folder, recipe, step)
    learner = _learner(folder, recipe, checkpoint)
    store = await Store.open(str(folder.store), create=False)
    try:

        async def fetch(rollout_id: str) -> Played | None:
            found = await store.get_rollout(rollout_id)
            return None if found is None else open_frame(msgspec.json.encode(found[0]), found[1])

        return await replay(recipe, learner, Journal(journal).entries(), start=start, step=step, fetch=fetch)
    finally:
        await store.close()


def show(compared: list[Compared]) -> None:
    """A table, the numbers that differ marked."""
    rows = [
        {
            "": "" if number.same else "≠",
            "number": number.name,
            "journal": repr(number.journal),
            "replayed": repr(number.replayed),
        }
        for number in compared
    ]
    print_table(["", "number", "journal", "replayed"], rows)


def _nearest(folder: RunFolder, recipe: Recipe, step: int) -> tuple[Path | None, int]:
    """The newest checkpoint that stands at or before the step; None for the warm start."""
    for path in reversed(Checkpoints(folder.path / "checkpoints").all()):
        state = read_state(path)
        if state.step <= step:
            check_recipe(state.recipe, msgspec.to_builtins(recipe))
            return path, state.step
    return None, 0


def _learner(folder: RunFolder, recipe: Recipe, checkpoint: Path | None) -> Learner:
    """One thread, as in the run: sums in another order are other bits."""
    from model.tokenizer import Tokenizer
    from palaestra.placed import place_learner

    vocab_size = Tokenizer.load(folder.tokenizer).vocab_size
    learner = place_learner(recipe, vocab_size, 1, str(folder.before))
    if checkpoint is None:
        learner.begin("grpo", recipe.grpo.lr)
    else:
        learner.load(checkpoint, recipe.grpo.lr)
    return learner
