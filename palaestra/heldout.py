"""Held-out evaluation: which tasks, how they are sampled, and doing it again from a checkpoint.

An evaluation is fixed by its recipe and its name: the same tasks, the same seeds, so a checkpoint gives the same
figures wherever it is scored.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from gym_core.contracts import Sampling
from gym_core.errors import BadRequest
from palaestra.house import Row, draw_tasks
from palaestra.policies import find_checkpoint
from palaestra.stage import on_stage
from trainer.collect import AgentPool
from trainer.config import Recipe, parse_recipe
from trainer.evaluate import Evaluation, evaluate
from trainer.recall import Recall

FILE = "evaluation.json"
GREEDY_TASKS = 64


class Record(msgspec.Struct, kw_only=True):
    """What lies beside a checkpoint: everything needed to score it again, and what came out."""

    recipe: dict[str, Any]
    name: str
    run_id: str
    evaluation: dict[str, Evaluation] = {}


async def heldout_rows(urls: Mapping[str, str], recipe: Recipe) -> dict[str, list[Row]]:
    """The held-out tasks of a recipe, by environment; `urls` say where each is served, without its name."""
    return {
        name: await draw_tasks(
            urls[name], name, seed=recipe.seed, level=mix.level, count=recipe.eval.tasks, split="heldout"
        )
        for name, mix in recipe.environments.items()
    }


async def score(
    agents: AgentPool, rows: dict[str, list[Row]], recipe: Recipe, name: str, recalled: Recall | None = None
) -> dict[str, Evaluation]:
    """`sampled`: every task once at the recipe's temperature; `greedy`: the first few of each environment.

    `recalled` goes on with an evaluation that was interrupted.
    """
    limit = recipe.grpo.max_output_tokens
    sampled = Sampling(temperature=recipe.eval.temperature, top_p=1.0, max_output_tokens=limit)
    greedy = Sampling(temperature=0.0, top_p=1.0, max_output_tokens=limit)
    every = [row for held_out in rows.values() for row in held_out]
    few = [row for held_out in rows.values() for row in held_out[:GREEDY_TASKS]]
    return {
        "sampled": await evaluate(agents, every, step=0, sampling=sampled, purpose=f"eval-{name}", recalled=recalled),
        "greedy": await evaluate(agents, few, step=0, sampling=greedy, purpose=f"greedy-{name}", recalled=recalled),
    }


async def validate(
    agents: AgentPool, rows: dict[str, list[Row]], recipe: Recipe, done: int, recalled: Recall | None = None
) -> dict[str, float]:
    """Metrics after `done` steps: a few held-out tasks of each environment, several tries of each."""
    sampled = Sampling(temperature=recipe.eval.temperature, top_p=1.0, max_output_tokens=recipe.grpo.max_output_tokens)
    few = [row for held_out in rows.values() for row in held_out[: recipe.eval.validation_tasks]]
    found = await evaluate(
        agents, few, step=done, sampling=sampled, repeats=recipe.eval.samples, purpose="val", recalled=recalled
    )
    return found.metrics()


def read_record(checkpoint: Path) -> Record:
    """The record beside a checkpoint. Raises `BadRequest` where there is none, or it cannot be read."""
    path = checkpoint / FILE
    if not path.is_file():
        raise BadRequest(
            f"{checkpoint} has no {FILE}: it says which tasks to score on",
            field="checkpoint",
            hint="give the before or after folder of a run",
        )
    try:
        return msgspec.json.decode(path.read_bytes(), type=Record)
    except msgspec.DecodeError as error:
        raise BadRequest(f"{path} cannot be read: {error}", field="checkpoint") from None


async def score_checkpoint(path: Path, *, num_slots: int = 192) -> tuple[Record, dict[str, Evaluation]]:
    """Serve a checkpoint and score it again on the tasks of its record. Returns the record and the new figures."""
    checkpoint = find_checkpoint(path)
    record = read_record(checkpoint)
    recipe = parse_recipe(record.recipe, str(checkpoint / FILE))
    async with on_stage(checkpoint, recipe, record.run_id, num_slots=num_slots) as stage:
        rows = await heldout_rows(dict.fromkeys(recipe.environments, stage.environment_url), recipe)
        return record, await score(stage.agents, rows, recipe, record.name)
