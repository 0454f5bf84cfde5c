"""A finished step done again, offline: no server, no sampling, the rollouts that the journal names.

    checkpoint at or before the step ─▶ [stored rollouts of a step ─▶ shape ─▶ batch ─▶ learner.step] up to the step
                                                                                    └─▶ its numbers beside the journal's

Steps between the checkpoint and the one asked for are done on the way, so any step can be reached from the warm start.
With the threads and the machine of the run the numbers are the same bits; elsewhere they show how far sums are off.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gym_core.errors import BadRequest
from trainer.config import Recipe
from trainer.grpo import training_batch
from trainer.journal import Entry
from trainer.pack import Sample
from trainer.played import Played, PlayedGroup
from trainer.shape import shaper

TIMES = ("policy_training_time",)
"""Numbers of a learner's step that say how long it took."""

Fetch = Callable[[str], Awaitable[Played | None]]


class Steps(Protocol):
    """What replaying asks of a learner."""

    def step(self, samples: Sequence[Sample], step: int = 0) -> dict[str, float]: ...


@dataclass(slots=True, frozen=True)
class Compared:
    """One number of a step: as the journal has it, and as it came out now."""

    name: str
    journal: float
    replayed: float

    @property
    def same(self) -> bool:
        """Bit for bit; two that are not numbers are the same."""
        return self.journal == self.replayed or (math.isnan(self.journal) and math.isnan(self.replayed))


async def replay(
    recipe: Recipe, learner: Steps, entries: Sequence[Entry], *, start: int, step: int, fetch: Fetch
) -> list[Compared]:
    """Do the steps from `start` to `step` on a learner that stands at `start`; compare the last with its journal entry.

    Raises BadRequest where the journal lacks a step, or the store a rollout that the journal names.
    """
    by_step = {entry.step: entry for entry in entries}
    missing = [number for number in range(start, step + 1) if number not in by_step]
    if missing:
        raise BadRequest(
            f"the journal has no step {missing[-1]}", field="replay", hint=f"it has {_ranges(sorted(by_step))}"
        )
    metrics: Mapping[str, float] = {}
    for number in range(start, step + 1):
        metrics = learner.step(await _batch(recipe, by_step[number], fetch), number)
    told = by_step[step].metrics
    return [Compared(name, told[name], value) for name, value in metrics.items() if name in told and name not in TIMES]


async def _batch(recipe: Recipe, entry: Entry, fetch: Fetch) -> list[Sample]:
    groups = [await _group(group_id, members, fetch) for group_id, members in entry.groups.items()]
    groups = [group for group in groups if group.members]
    return training_batch(groups, shaper(recipe)(groups, entry.step), recipe.objective)


async def _group(group_id: str, members: Sequence[tuple[str, str, float | None]], fetch: Fetch) -> PlayedGroup:
    group = PlayedGroup(group_id, "", "")
    for rollout_id, _, _ in members:
        played = await fetch(rollout_id)
        if played is None:
            raise BadRequest(f"the store has no rollout {rollout_id!r}, which the journal names", field="replay")
        group.task_id, group.environment = played.rollout.task_id, played.rollout.environment
        group.members.append(played)
    return group


def _ranges(steps: Sequence[int]) -> str:
    return f"steps {steps[0]} to {steps[-1]}" if steps else "none"
