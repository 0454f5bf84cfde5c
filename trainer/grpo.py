"""GRPO: the step is one function, everything it calls is one of the trainer's parts.

The weights that step s (0-based) trains have policy version s + 1; version 1 is the warm start. They sample the step
too, all of it, unless the recipe overlaps: then step s + 1 is played while step s trains, and some of its tokens are
one version old (docs/training.md).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from gym_core.contracts import TaskProfile
from gym_core.errors import BadRequest, PalaestraError
from trainer.advantage import group_advantages, trainable_reward
from trainer.batch import to_samples
from trainer.checkpointing import Checkpoints, State, check_recipe, read_state
from trainer.collect import AgentPool
from trainer.config import ObjectiveRecipe, Recipe, parse_recipe
from trainer.curriculum import Curriculum
from trainer.disk import DiskFull
from trainer.draws import Draws
from trainer.evaluate import profiles
from trainer.events import STAGES, Event, OnEvent
from trainer.journal import Journal
from trainer.metrics import Writer
from trainer.pack import Sample
from trainer.placement import Handle
from trainer.plateau import Plateau
from trainer.played import PlayedGroup
from trainer.playing import Playing, version_of
from trainer.publisher import WeightPublisher
from trainer.recall import Recall
from trainer.rollout_metrics import rollout_metrics
from trainer.shape import Shaped, Shaper, shaper

__all__ = ["STAGES", "Event", "Grpo", "OnEvent", "Profiler", "Validator", "training_batch", "version_of"]

Validator = Callable[[int, Recall | None], Awaitable[Mapping[str, float]]]
"""Held-out metrics after so many steps; with a Recall, finished rollouts of an earlier try are taken from the store."""

Profiler = Callable[[Path, int], Awaitable[Sequence[TaskProfile]]]
"""Profiles of every pool's tasks by the checkpoint in this folder, before so many steps; goes on where it broke off."""


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
        self.draws = Draws(curriculum)
        self.playing = Playing(recipe, agents, self.draws, journal)
        self._trained = -1
        self._scores: dict[int, float] = {}

    async def step(self, step: int) -> dict[str, float]:
        """Draw, roll out, shape, advantage, train, publish, commit. Raises typed errors; see `run` for what is kept."""
        config = self.recipe.grpo
        began = time.perf_counter()
        self._enter("draw", step)
        rows = await self.playing.draw(step)
        self._enter("collect", step)
        groups = await self.playing.collect(step)
        played = time.perf_counter()
        if self.recipe.overlap.steps and step + 1 < config.steps:
            await self.playing.begin_ahead(step + 1)
        metrics = self.draws.open(step).metrics | rollout_metrics(
            groups, version_of(step), len(rows) * config.group_size
        )
        self._emit("rollouts", step, metrics)
        self._enter("shape", step)
        shaped = self.shape(groups, step)
        batch = training_batch(groups, shaped, self.recipe.objective)
        metrics |= shaped.metrics
        self._enter("train", step)
        metrics |= await self.learner.call("step", batch, step)
        self._learn_pass_rates(groups, step)
        self._enter("commit", step)
        self._commit(step, groups, metrics)
        self._enter("publish", step)
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
        try:
            for step in range(start, self.recipe.grpo.steps):
                try:
                    await self._whole_step(step)
                except PalaestraError as error:
                    await self._keep(step, error)
                    self._emit("failed", step, {}, str(error))
                    raise
        finally:
            await self.playing.stop()
        return self.recipe.grpo.steps - start

    async def _whole_step(self, step: int) -> None:
        """A step, what it is measured by, and a checkpoint where one is due or the best so far was reached."""
        began = time.perf_counter()
        metrics = await self.step(step)
        metrics["total_step_time"] = time.perf_counter() - began
        found = await self._validate(step + 1)
        leads = self._see(step + 1, found)
        metrics |= found
        self._enter("write", step)
        for writer in self.writers:
            await writer.write(step, metrics)
        self._emit("step", step, metrics)
        last = step + 1 == self.recipe.grpo.steps
        if (step + 1) % self.recipe.checkpoint_every == 0 or last or leads or self.plateau.due:
            self._enter("checkpoint", step)
            await self.save(step + 1)
        if not last:
            await self._profile_again(step + 1)

    def _commit(self, step: int, groups: Sequence[PlayedGroup], metrics: Mapping[str, float]) -> None:
        """Into the journal: from here on the step is done."""
        drawn = self.draws.open(step)
        self.journal.commit(
            step,
            version_of(step + 1),
            groups,
            metrics,
            seed=self.recipe.seed,
            tasks=drawn.tasks,
            curriculum=self.curriculum.digest(),
        )
        self.draws.trained(step)
        self._trained = step

    async def _validate(self, done: int) -> Mapping[str, float]:
        """Held-out metrics where the recipe wants them now. A validation that fails stops no training."""
        every = self.recipe.eval.every
        if self.validate is None or not every or done % every:
            return {}
        self._enter("validate", done - 1)
        began = time.perf_counter()
        try:
            found = await self.validate(done, None if self.journal.is_new else Recall(version_of(done)))
        except PalaestraError as error:
            self._emit("unvalidated", done - 1, {}, str(error))
            return {}
        return {**found, "validation_time": time.perf_counter() - began}

    def _see(self, done: int, found: Mapping[str, float]) -> bool:
        """Take a validation in: whether its weights are to be kept, as the best so far or as the plateau's best."""
        score = found.get("val/reward")
        if score is None:
            return False
        grpo, highest = self.recipe.grpo, self.checkpoints.best_score()
        self._scores[done] = score
        ahead = self.plateau.see(done, score, patience=grpo.plateau_patience, margin=grpo.plateau_margin)
        return ahead or score > highest

    async def _profile_again(self, step: int) -> None:
        """On a plateau: profile the pools with its best checkpoint. Where that fails, the old profiles stay."""
        if not self.plateau.due or self.profile is None or self.plateau.best_step is None:
            return
        best = self.checkpoints.of(self.plateau.best_step)
        try:
            if best is None:
                raise BadRequest(f"step {self.plateau.best_step} has no checkpoint any more", field="checkpoints")
            found = await self.profile(best, step)
            dropped = await asyncio.to_thread(self.curriculum.profile, found)
            self._emit("profile", step, {"tasks": len(found), "dropped": dropped}, best.name)
        except PalaestraError as error:
            self._emit("unprofiled", step, {}, str(error))
        self.plateau.due = False
        await self.save(step)

    async def _keep(self, step: int, error: PalaestraError) -> None:
        """Save what is whole when a step has failed. What cannot be saved is noted on the error, not raised."""
        if isinstance(error, DiskFull):
            return  # there is no room for another; the last checkpoint stands
        try:
            if error.stage in ("collect", "mismatch"):
                await self.save(step)
            elif self._trained == step:
                await self.save(step + 1)
        except (PalaestraError, OSError) as second:
            error.add_note(f"no checkpoint of this moment could be saved: {second}")

    async def _begin(self) -> int:
        """Resume where a checkpoint is, start otherwise; either way the served weights are the learner's."""
        found = await asyncio.to_thread(self.checkpoints.tidy)
        if found is None:
            await self.learner.call("begin", "grpo", self.recipe.grpo.lr)
            await self.publisher.publish(self.learner, version_of(0))
            if self.recipe.grpo.profile_repeats:
                await self._profile()
            self._emit("start", 0)
            return 0
        state = read_state(found)
        saved = parse_recipe(state.recipe, str(found))  # keys that are newer than the checkpoint have their defaults
        check_recipe(msgspec.to_builtins(saved), msgspec.to_builtins(self.recipe))
        await self.learner.call("load", str(found), self.recipe.grpo.lr)
        await asyncio.to_thread(self.curriculum.load_state_dict, state.curriculum)
        self.draws.load_state_dict(state.drawn)
        self.plateau = msgspec.convert(state.extra.get("plateau", {}), Plateau)
        if state.score is not None:
            self._scores[state.step] = state.score
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
            sampling=self.playing.sampling,
            purpose="profile",
            recalled=None if self.journal.is_new else Recall(version_of(0)),
        )
        found = profiles(groups, checkpoint=str(version_of(0)))
        dropped = await asyncio.to_thread(self.curriculum.profile, found)
        self._emit("profile", 0, {"tasks": len(rows), "dropped": dropped})

    def _learn_pass_rates(self, groups: Sequence[PlayedGroup], step: int) -> None:
        for group in groups:
            rewards = [r for r in (trainable_reward(m.rollout) for m in group.members) if r is not None]
            self.curriculum.update(group.environment, group.task_id, rewards, str(version_of(step)))

    async def save(self, step: int) -> None:
        """A checkpoint from which `step` is the next to do, with its held-out reward where it is known."""
        path = await self.checkpoints.save(
            self.learner,
            State(
                step=step,
                version=version_of(step),
                recipe=msgspec.to_builtins(self.recipe),
                curriculum=self.curriculum.state_dict(),
                drawn=self.draws.state_dict(),
                score=self._scores.get(step),
                extra={"plateau": self.plateau.state_dict()},
                plateau_best=self.plateau.best_step,
            ),
        )
        self._emit("checkpoint", step, {}, str(path))

    def _enter(self, stage: str, step: int) -> None:
        self._emit("stage", step, {}, stage)

    def _emit(self, kind: str, step: int, values: Mapping[str, float] | None = None, text: str = "") -> None:
        if self.on_event is not None:
            self.on_event(Event(kind, step, dict(values or {}), text))
