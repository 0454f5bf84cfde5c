"""Synchronous GRPO: the step is one function, everything it calls is one of the trainer's parts.

The weights that sample step s (0-based) have policy version s + 1; version 1 is the warm start.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from gym_core.contracts import Sampling, TaskProfile
from gym_core.errors import PalaestraError
from trainer.advantage import group_advantages, trainable_reward
from trainer.batch import to_samples
from trainer.checkpointing import Checkpoints, State, check_recipe, read_state
from trainer.collect import AgentPool
from trainer.config import ObjectiveRecipe, Recipe
from trainer.curriculum import Curriculum
from trainer.evaluate import profiles
from trainer.journal import Journal
from trainer.metrics import Writer
from trainer.pack import Sample
from trainer.placement import Handle
from trainer.plateau import Plateau
from trainer.played import PlayedGroup
from trainer.publisher import WeightPublisher
from trainer.recall import Recall
from trainer.rollout_metrics import rollout_metrics
from trainer.shape import Shaped, Shaper, shaper


@dataclass(slots=True, frozen=True)
class Event:
    """Something the live view may show: `start`, `resume`, `profile`, `rollouts`, `step`, `checkpoint`, `failed`,
    `unvalidated`, `unprofiled`."""

    kind: str
    step: int
    values: Mapping[str, float] = field(default_factory=dict)
    text: str = ""


OnEvent = Callable[[Event], None]
Validator = Callable[[int, Recall | None], Awaitable[Mapping[str, float]]]
"""Held-out metrics after so many steps; with a Recall, finished rollouts of an earlier try are taken from the store."""

Profiler = Callable[[Path, int], Awaitable[Sequence[TaskProfile]]]
"""Profiles of every pool's tasks by the checkpoint in this folder, before so many steps; goes on where it broke off."""


def version_of(step: int) -> int:
    """The policy version that samples this step."""
    return step + 1


def training_batch(groups: Sequence[PlayedGroup], shaped: Shaped, objective: ObjectiveRecipe) -> list[Sample]:
    """Shaped groups as the learner takes them: group advantages, then one sample per trace."""
    advantages = [group_advantages(group, objective.scale, objective.baseline) for group in shaped.rewards]
    return to_samples(groups, advantages, mask_truncated=objective.mask_truncated)


class Grpo:
    """A run over placed and connected parts. It opens nothing and closes nothing."""

    def __init__(
        self,
        recipe: Recipe,
        *,
        learner: Handle,
        agents: AgentPool,
        publisher: WeightPublisher,
        curriculum: Curriculum,
        journal: Journal,
        checkpoints: Checkpoints,
        writers: Sequence[Writer] = (),
        on_event: OnEvent | None = None,
        shape: Shaper | None = None,
        validate: Validator | None = None,
        profile: Profiler | None = None,
    ) -> None:
        self.recipe, self.validate, self.profile = recipe, validate, profile
        self.plateau = Plateau()
        self.learner, self.agents, self.publisher = learner, agents, publisher
        self.curriculum, self.journal, self.checkpoints = curriculum, journal, checkpoints
        self.writers, self.on_event = writers, on_event
        self.shape = shape or shaper(recipe)
        self._committed = {entry.step: entry.rollout_ids for entry in journal.entries()}
        self._trained = -1
        self.sampling = Sampling(
            temperature=recipe.grpo.temperature, top_p=1.0, max_output_tokens=recipe.grpo.max_output_tokens
        )

    async def step(self, step: int) -> dict[str, float]:
        """Draw, roll out, shape, advantage, train, publish, commit. Raises typed errors; see `run` for what is kept."""
        config = self.recipe.grpo
        began = time.perf_counter()
        rows = self.curriculum.draw(step)
        groups = await self.agents.run(
            rows, repeats=config.group_size, step=step, sampling=self.sampling, recalled=self._recall(step)
        )
        played = time.perf_counter()
        metrics = self.curriculum.last_metrics | rollout_metrics(
            groups, version_of(step), len(rows) * config.group_size
        )
        self._emit("rollouts", step, metrics)
        shaped = self.shape(groups, step)
        batch = training_batch(groups, shaped, self.recipe.objective)
        metrics |= shaped.metrics
        metrics |= await self.learner.call("step", batch, step)
        self._learn_pass_rates(groups, step)
        self.journal.commit(step, version_of(step + 1), groups, metrics)
        self._trained = step
        trained = time.perf_counter()
        metrics |= await self.publisher.publish(self.learner, version_of(step + 1))
        return metrics | {"generation_time": played - began, "weight_sync_time": time.perf_counter() - trained}

    async def run(self) -> int:
        """All steps from the start or the last checkpoint; returns the number of steps done here.

        When a step fails before it has trained, the state at its start is saved; when it fails after, the state at its
        end; a learner that failed in between leaves the last checkpoint, from which the same rollouts are trained
        again. The error goes to the caller.
        """
        start = await self._begin()
        for step in range(start, self.recipe.grpo.steps):
            began = time.perf_counter()
            before = self.curriculum.state_dict()
            try:
                metrics = await self.step(step)
            except PalaestraError as error:
                await self._keep(step, before, error)
                self._emit("failed", step, {}, str(error))
                raise
            metrics["total_step_time"] = time.perf_counter() - began
            found = await self._validate(step + 1)
            best = self._see(step + 1, found)
            metrics |= found
            for writer in self.writers:
                await writer.write(step, metrics)
            self._emit("step", step, metrics)
            last = step + 1 == self.recipe.grpo.steps
            if (step + 1) % self.recipe.checkpoint_every == 0 or last or best or self.plateau.due:
                await self.save(step + 1)
            if not last:
                await self._profile_again(step + 1)
        return self.recipe.grpo.steps - start

    async def _validate(self, done: int) -> Mapping[str, float]:
        """Held-out metrics where the recipe wants them now. A validation that fails stops no training."""
        every = self.recipe.eval.every
        if self.validate is None or not every or done % every:
            return {}
        began = time.perf_counter()
        try:
            found = await self.validate(done, None if self.journal.is_new else Recall(version_of(done)))
        except PalaestraError as error:
            self._emit("unvalidated", done - 1, {}, str(error))
            return {}
        return {**found, "validation_time": time.perf_counter() - began}

    def _see(self, done: int, found: Mapping[str, float]) -> bool:
        """Whether this validation is the best so far."""
        grpo = self.recipe.grpo
        if "val/reward" not in found:
            return False
        return self.plateau.see(done, found["val/reward"], patience=grpo.plateau_patience, margin=grpo.plateau_margin)

    async def _profile_again(self, step: int) -> None:
        """On a plateau: profile the pools with the best checkpoint. Where that fails, the old profiles stay."""
        if not self.plateau.due or self.profile is None or self.plateau.best_step is None:
            return
        best = self.checkpoints.path(self.plateau.best_step)
        try:
            found = await self.profile(best, step)
            dropped = self.curriculum.profile(found)
            self._emit("profile", step, {"tasks": len(found), "dropped": dropped}, best.name)
        except PalaestraError as error:
            self._emit("unprofiled", step, {}, str(error))
        self.plateau.due = False
        await self.save(step)

    async def _keep(self, step: int, before: dict[str, Any], error: PalaestraError) -> None:
        """Save what is whole when a step has failed. What cannot be saved is noted on the error, not raised."""
        try:
            if error.stage in ("collect", "mismatch"):
                self.curriculum.load_state_dict(before)
                await self.save(step)
            elif self._trained == step:
                await self.save(step + 1)
        except (PalaestraError, OSError) as second:
            error.add_note(f"no checkpoint of this moment could be saved: {second}")

    def _recall(self, step: int) -> Recall | None:
        """What of this step may have been played before; None once a step is new to this run."""
        if self.journal.is_new or step > max(self._committed, default=-1) + 1:
            return None
        return Recall(version_of(step), self._committed.get(step, frozenset()))

    async def _begin(self) -> int:
        """Resume where a checkpoint is, start otherwise; either way the served weights are the learner's."""
        found = self.checkpoints.latest()
        if found is None:
            await self.learner.call("begin", "grpo", self.recipe.grpo.lr)
            await self.publisher.publish(self.learner, version_of(0))
            if self.recipe.grpo.profile_repeats:
                await self._profile()
            self._emit("start", 0)
            return 0
        state = read_state(found)
        check_recipe(state.recipe, msgspec.to_builtins(self.recipe))
        await self.learner.call("load", str(found), self.recipe.grpo.lr)
        self.curriculum.load_state_dict(state.curriculum)
        self.plateau = msgspec.convert(state.extra.get("plateau", {}), Plateau)
        await self.publisher.publish(self.learner, version_of(state.step))
        self._emit("resume", state.step, {}, found.name)
        await self._profile_again(state.step)
        return state.step

    async def _profile(self) -> None:
        """Play every pool's tasks with the weights we start from; those it always solves are dropped."""
        rows = [row for pool in self.curriculum.pools.values() for row in pool.rows.values()]
        groups = await self.agents.run(
            rows,
            repeats=self.recipe.grpo.profile_repeats,
            step=0,
            sampling=self.sampling,
            purpose="profile",
            recalled=None if self.journal.is_new else Recall(version_of(0)),
        )
        dropped = self.curriculum.profile(profiles(groups, checkpoint=str(version_of(0))))
        self._emit("profile", 0, {"tasks": len(rows), "dropped": dropped})

    def _learn_pass_rates(self, groups: Sequence[PlayedGroup], step: int) -> None:
        for group in groups:
            rewards = [r for r in (trainable_reward(m.rollout) for m in group.members) if r is not None]
            self.curriculum.update(group.environment, group.task_id, rewards, str(version_of(step)))

    async def save(self, step: int) -> None:
        """A checkpoint from which `step` is the next to do."""
        path = await self.checkpoints.save(
            self.learner,
            State(
                step=step,
                version=version_of(step),
                recipe=msgspec.to_builtins(self.recipe),
                curriculum=self.curriculum.state_dict(),
                extra={"plateau": self.plateau.state_dict()},
                best=self.plateau.best_step,
            ),
        )
        self._emit("checkpoint", step, {}, str(path))

    def _emit(self, kind: str, step: int, values: Mapping[str, float] | None = None, text: str = "") -> None:
        if self.on_event is not None:
            self.on_event(Event(kind, step, dict(values or {}), text))
