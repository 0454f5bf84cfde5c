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

PASS = 1.0
Z95 = 1.96


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """A mean over tasks with its 95 % interval over tasks (`interval`; a single task says nothing)."""

    mean: float
    low: float
    high: float


class EnvironmentScore(msgspec.Struct, frozen=True, kw_only=True):
    """Mean reward over scored tasks. `num_failed` rollouts gave no reward and are in no mean.

    `pass_at`: for k = 1, 2, 4, … tries, the share of tasks that one of them solves (`pass_at_k`), over tasks with
    that many scored tries; a try solves its task where it earns `PASS`.
    """

    mean: float
    standard_error: float
    num_tasks: int
    num_failed: int
    outcomes: dict[str, int]
    pass_at: dict[int, Share] = {}


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """`mean` is over environments, each counting once."""

    mean: float
    environments: dict[str, EnvironmentScore]

    def metrics(self, prefix: str = "val") -> dict[str, float]:
        """Rewards, and pass@k with its bounds where tasks were tried more than once."""
        values = {f"{prefix}/reward": self.mean}
        for name, score in self.environments.items():
            values[f"{prefix}/reward/{name}"] = score.mean
            if len(score.pass_at) > 1:
                for k, share in score.pass_at.items():
                    values[f"{prefix}/pass@{k}/{name}"] = share.mean
                    values[f"{prefix}/pass@{k}/{name}/low"] = share.low
                    values[f"{prefix}/pass@{k}/{name}/high"] = share.high
        return values


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
    tries: dict[str, list[tuple[int, int]]] = {}
    outcomes: dict[str, Counter[str]] = {}
    for group in groups:
        rewards = [r for r in (trainable_reward(m.rollout) for m in group.members) if r is not None]
        tries.setdefault(group.environment, []).append((len(rewards), sum(r >= PASS for r in rewards)))
        outcomes.setdefault(group.environment, Counter()).update(m.rollout.outcome.value for m in group.members)
        tasks = means.setdefault(group.environment, [])
        if rewards:
            tasks.append(math.fsum(rewards) / len(rewards))
    scores = {name: _score(means[name], outcomes[name], tries[name]) for name in means}
    known = [score.mean for score in scores.values() if score.num_tasks]
    return Evaluation(mean=math.fsum(known) / len(known) if known else math.nan, environments=scores)


def pass_at_k(tries: int, solved: int, k: int) -> float:
    """Chance that k of `tries` drawn without replacement hold one of `solved`: 1 - C(n - c, k) / C(n, k).

    The unbiased estimator of arXiv 2107.03374, eq. 1. Raises ValueError for fewer tries than k.
    """
    if not (0 < k <= tries and 0 <= solved <= tries):
        raise ValueError(f"pass@{k} needs {k} tries or more and no more solved than tried, not {solved} of {tries}")
    return 1.0 - math.comb(tries - solved, k) / math.comb(tries, k)


def _passes(tries: list[tuple[int, int]]) -> dict[int, Share]:
    """pass@k for powers of two, over the tasks that were tried so often."""
    most = max((n for n, _ in tries), default=0)
    found = {}
    for k in (1 << power for power in range(most.bit_length())):
        shares = [pass_at_k(n, solved, k) for n, solved in tries if n >= k]
        mean, error = _mean_and_error(shares)
        low, high = interval(mean, error, len(shares))
        found[k] = Share(mean=mean, low=low, high=high)
    return found


def interval(mean: float, error: float, num_tasks: int) -> tuple[float, float]:
    """95 % bounds of a mean of shares with this standard error over tasks; [0, 1] where the error is not known.

    Wilson's (1927), of as many trials m as give a proportion this error, m = p (1 - p) / error², and no fewer than the
    tasks: within [0, 1] by itself, and never without width, so 64 of 64 tasks solved is [0.94, 1].
    """
    if not num_tasks or math.isnan(error):
        return 0.0, 1.0
    trials = max(num_tasks, mean * (1.0 - mean) / error**2 if error > 1e-9 else 0.0)
    z2 = Z95**2 / trials
    centre = (mean + z2 / 2) / (1 + z2)
    half = math.sqrt(z2 * mean * (1 - mean) + z2 * z2 / 4) / (1 + z2)
    return max(centre - half, 0.0), min(centre + half, 1.0)


def _mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean and its standard error; NaN where there is too little to say."""
    n = len(values)
    mean = math.fsum(values) / n if n else math.nan
    error = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1) / n) if n > 1 else math.nan
    return mean, error


def _score(rewards: list[float], outcomes: Counter[str], tries: list[tuple[int, int]]) -> EnvironmentScore:
    mean, spread = _mean_and_error(rewards)
    failed = sum(count for name, count in outcomes.items() if not Outcome(name).trainable)
    return EnvironmentScore(
        mean=mean,
        standard_error=spread,
        num_tasks=len(rewards),
        num_failed=failed,
        outcomes=dict(sorted(outcomes.items())),
        pass_at=_passes(tries),
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
