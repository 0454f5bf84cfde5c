"""Two runs side by side: rollouts of the same task and repeat are paired, and what differs is counted.

The difference of mean rewards is over pairs, its interval from a paired bootstrap (Efron and Tibshirani 1993, ch. 12):
pairs are drawn with replacement 2,000 times, and 2.5 % of the means are left out on either side.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from gym_core.contracts import Rollout
from palaestra.run_view import Numbers, mean

DRAWS = 2000


class Kept(msgspec.Struct):
    """What of a rollout is compared."""

    rollout_id: str
    outcome: str
    reward: float | None
    output_tokens: int


class Side:
    """One run: its numbers by environment, and its rollouts by (environment, task, repeat), in order of commit."""

    def __init__(self) -> None:
        self.numbers: dict[str, Numbers] = {}
        self.kept: dict[tuple[str, str, int], list[Kept]] = defaultdict(list)

    async def read(self, rollouts: AsyncIterator[Rollout]) -> Side:
        async for rollout in rollouts:
            self.numbers.setdefault(rollout.environment, Numbers()).add(rollout)
            key = (rollout.environment, rollout.task_id, rollout.repeat)
            tokens = rollout.usage.output_tokens
            self.kept[key].append(Kept(rollout.rollout_id, rollout.outcome.value, rollout.reward, tokens))
        return self


def compare(first: Side, second: Side) -> dict[str, Any]:
    """What differs: `environments` by name, and every `changed` verdict or outcome of a pair."""
    deltas: dict[str, list[float]] = defaultdict(list)
    pairs: dict[str, int] = defaultdict(int)
    changed: list[dict[str, Any]] = []
    for key in sorted(first.kept.keys() & second.kept.keys()):
        for one, other in zip(first.kept[key], second.kept[key], strict=False):
            pairs[key[0]] += 1
            if one.reward is not None and other.reward is not None:
                deltas[key[0]].append(other.reward - one.reward)
            if (one.reward, one.outcome) != (other.reward, other.outcome):
                changed.append(_change(key, one, other))
    names = sorted(first.numbers.keys() | second.numbers.keys())
    environments = {
        name: {
            "first": first.numbers[name].summary() if name in first.numbers else None,
            "second": second.numbers[name].summary() if name in second.numbers else None,
            "pairs": pairs[name],
            "delta": mean(deltas[name]),
            "interval": interval(deltas[name]),
            "better": sum(delta > 0 for delta in deltas[name]),
            "worse": sum(delta < 0 for delta in deltas[name]),
        }
        for name in names
    }
    return {"environments": environments, "changed": changed}


def _change(key: tuple[str, str, int], one: Kept, other: Kept) -> dict[str, Any]:
    environment, task_id, repeat = key
    return {
        "environment": environment,
        "task_id": task_id,
        "repeat": repeat,
        "first": msgspec.to_builtins(one),
        "second": msgspec.to_builtins(other),
    }


def interval(deltas: list[float], draws: int = DRAWS) -> tuple[float, float] | None:
    """95 % of the mean by paired bootstrap, the same for the same numbers; None for fewer than two."""
    if len(deltas) < 2:
        return None
    import numpy as np

    values = np.asarray(deltas)
    draw = np.random.default_rng(0)
    means = [float(values[draw.integers(0, len(values), len(values))].mean()) for _ in range(draws)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
