"""Held-out evaluation through the same agent server: one number per environment, with its error and its failures."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from gym_core.contracts import Outcome, Sampling, TaskProfile
from trainer.advantage import trainable_reward
from trainer.collect import AgentPool, Row
from trainer.played import PlayedGroup
from trainer.recall import Recall


class EnvironmentScore(msgspec.Struct, frozen=True, kw_only=True):
    """Mean reward over scored tasks. `num_failed` rollouts gave no reward and are in no mean."""

    mean: float
    standard_error: float
    num_tasks: int
    num_failed: int
    outcomes: dict[str, int]


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """`mean` is over environments, each counting once."""

    mean: float
    environments: dict[str, EnvironmentScore]

    def metrics(self, prefix: str = "val") -> dict[str, float]:
        values = {f"{prefix}/reward/{name}": score.mean for name, score in self.environments.items()}
        return {f"{prefix}/reward": self.mean, **values}


async def evaluate(
    agents: AgentPool,
    rows: Sequence[Row],
    *,
    step: int,
    sampling: Sampling,
    repeats: int = 1,
    purpose: str = "eval",
    recalled: Recall | None = None,
) -> Evaluation:
    """Play held-out rows of any environments and score them. Seeds are alike at every step, so steps compare.

    With `recalled`, rollouts that an interrupted evaluation finished are taken from the store, failed ones tried again.
    """
    groups = await agents.run(
        rows, repeats=repeats, step=step, sampling=sampling, purpose=purpose, seed_step=0, recalled=recalled
    )
    return summarise(groups)


def summarise(groups: Sequence[PlayedGroup]) -> Evaluation:
    """Scores of played groups. A task's reward is the mean of its repeats; errors are over tasks."""
    means: dict[str, list[float]] = {}
    outcomes: dict[str, Counter[str]] = {}
    for group in groups:
        rewards = [r for r in (trainable_reward(m.rollout) for m in group.members) if r is not None]
        outcomes.setdefault(group.environment, Counter()).update(m.rollout.outcome.value for m in group.members)
        tasks = means.setdefault(group.environment, [])
        if rewards:
            tasks.append(math.fsum(rewards) / len(rewards))
    scores = {name: _score(means[name], outcomes[name]) for name in means}
    known = [score.mean for score in scores.values() if score.num_tasks]
    return Evaluation(mean=math.fsum(known) / len(known) if known else math.nan, environments=scores)


def _score(rewards: list[float], outcomes: Counter[str]) -> EnvironmentScore:
    n = len(rewards)
    mean = math.fsum(rewards) / n if n else math.nan
    spread = math.sqrt(math.fsum((r - mean) ** 2 for r in rewards) / (n - 1) / n) if n > 1 else math.nan
    failed = sum(count for name, count in outcomes.items() if not Outcome(name).trainable)
    return EnvironmentScore(
        mean=mean, standard_error=spread, num_tasks=n, num_failed=failed, outcomes=dict(sorted(outcomes.items()))
    )


def profiles(groups: Sequence[PlayedGroup], checkpoint: str) -> list[TaskProfile]:
    """What playing a pool several times says of each task; tasks without a scored rollout are left out."""
    found = []
    for group in groups:
        rewards = [r for r in (trainable_reward(m.rollout) for m in group.members) if r is not None]
        if rewards:
            found.append(
                TaskProfile(
                    environment=group.environment,
                    task_id=group.task_id,
                    checkpoint=checkpoint,
                    passes=math.fsum(min(max(r, 0.0), 1.0) for r in rewards),
                    count=len(rewards),
                )
            )
    return found


def by_environment(rows: Mapping[str, Sequence[Row]]) -> list[Row]:
    """All rows of all environments, in one list."""
    return [row for name in rows for row in rows[name]]
