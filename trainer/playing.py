"""Who plays a step, and when: now, or since the step before it began to train.

    draw ─▶ collect ─▶ groups           begin_ahead(step + 1) ─▶ … ─▶ collect(step + 1) waits for what is left

A step that was begun before is drawn as the journal says and takes what was finished from the store (recall.py).
"""

from __future__ import annotations

import asyncio

from gym_core.contracts import Sampling
from trainer.collect import AgentPool, Row
from trainer.config import Recipe
from trainer.draws import Draws
from trainer.journal import Journal, check_draw
from trainer.played import PlayedGroup
from trainer.recall import Recall


def version_of(step: int) -> int:
    """The policy version that samples this step."""
    return step + 1


class Playing:
    """The rollouts of each step of a run."""

    def __init__(self, recipe: Recipe, agents: AgentPool, draws: Draws, journal: Journal) -> None:
        self.recipe, self.agents, self.draws, self.journal = recipe, agents, draws, journal
        self.sampling = Sampling(
            temperature=recipe.grpo.temperature,
            top_p=1.0,
            max_output_tokens=recipe.grpo.max_output_tokens,
            routed_experts=recipe.grpo.routing_replay or None,
        )
        self._committed = {entry.step: entry for entry in journal.entries()}
        self._ahead: dict[int, asyncio.Task[list[PlayedGroup]]] = {}

    async def draw(self, step: int) -> list[Row]:
        """The step's rows; one that the journal has must be drawn as it was. Raises Diverged.

        In a thread: among hundreds of thousands of tasks a draw takes seconds, and others answer meanwhile.
        """
        rows = await asyncio.to_thread(self.draws.rows, step)
        if (entry := self._committed.get(step)) is not None:
            check_draw(entry, self.recipe.seed, self.draws.open(step).tasks)
        return rows

    async def collect(self, step: int) -> list[PlayedGroup]:
        """The step's groups: those that are being played since the last step, or played now."""
        ahead = self._ahead.get(step)
        if ahead is None:
            return await self._play(step)
        try:
            return await ahead
        finally:
            self._ahead.pop(step, None)

    async def begin_ahead(self, step: int) -> None:
        """Begin to play the next step with the weights that are served now; newer ones take over where it stands."""
        await self.draw(step)
        self._ahead[step] = asyncio.create_task(self._play(step), name=f"play-ahead-{step}")

    async def stop(self) -> None:
        """What is still being played when the run ends is cut off: it is stored, and a resume finds it."""
        for task in self._ahead.values():
            task.cancel()
        await asyncio.gather(*self._ahead.values(), return_exceptions=True)
        self._ahead.clear()

    async def _play(self, step: int) -> list[PlayedGroup]:
        return await self.agents.run(
            self.draws.rows(step),
            repeats=self.recipe.grpo.group_size,
            step=step,
            sampling=self.sampling,
            recalled=self._recall(step),
        )

    def _recall(self, step: int) -> Recall | None:
        """What of this step may have been played before; None once a step is new to this run."""
        if self.journal.is_new or step > max(self._committed, default=-1) + 1 + self.recipe.overlap.steps:
            return None
        entry = self._committed.get(step)
        committed = frozenset() if entry is None else entry.rollout_ids
        return Recall(version_of(step), committed, lag=self.recipe.overlap.steps)
