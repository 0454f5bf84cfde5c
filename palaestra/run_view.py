"""A stored run in numbers: outcomes, rewards and lengths of each environment."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from gym_core.contracts import Rollout
from gym_core.store import Store


@dataclass(slots=True)
class Numbers:
    """Sums over the rollouts of one environment; means are over those that have a reward."""

    outcomes: Counter[str] = field(default_factory=Counter)
    rewards: list[float] = field(default_factory=list)
    components: dict[str, list[float]] = field(default_factory=dict)
    output_tokens: int = 0
    turns: int = 0
    tool_calls: int = 0

    def add(self, rollout: Rollout) -> None:
        self.outcomes[rollout.outcome.value] += 1
        self.output_tokens += rollout.usage.output_tokens
        self.turns += rollout.usage.turns
        self.tool_calls += rollout.usage.tool_calls
        if rollout.verdict is not None:
            self.rewards.append(rollout.verdict.reward)
            for name, value in rollout.verdict.components.items():
                self.components.setdefault(name, []).append(value)

    def summary(self) -> dict[str, Any]:
        count = self.outcomes.total()
        return {
            "rollouts": count,
            "mean_reward": mean(self.rewards),
            "components": {name: mean(values) for name, values in sorted(self.components.items())},
            "outcomes": dict(sorted(self.outcomes.items())),
            "mean_output_tokens": self.output_tokens / count,
            "mean_turns": self.turns / count,
            "mean_tool_calls": self.tool_calls / count,
        }


def mean(values: list[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


async def by_environment(rollouts: AsyncIterator[Rollout]) -> dict[str, dict[str, Any]]:
    """Numbers of every environment that occurs, by name."""
    numbers: dict[str, Numbers] = {}
    async for rollout in rollouts:
        numbers.setdefault(rollout.environment, Numbers()).add(rollout)
    return {name: numbers[name].summary() for name in sorted(numbers)}


async def run_view(store: Store, run_id: str) -> dict[str, Any]:
    """A run as plain data: what is known of it, each environment in numbers, its last metrics."""
    run = await store.run(run_id)
    metrics = await store.metrics(run_id)
    known: dict[str, Any] = {} if run is None else {name: getattr(run, name) for name in run.__struct_fields__}
    environments = await by_environment(one async for one, _ in store.iter_rollouts(run_id, blobs=False))
    return {
        **known,
        "run_id": run_id,
        "store": store.name,
        "rollouts": sum(numbers["rollouts"] for numbers in environments.values()),
        "environments": environments,
        "steps": len(metrics),
        "metrics": metrics[-1][1] if metrics else {},
    }
