"""What a run amounts to so far, brought up to date by what was committed since: 100,000 rollouts are counted once.

rollouts after `last` ─▶ grouped by environment, outcome, step in the database ─▶ added to the counts
metrics from the last step on ─▶ replaced
"""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import msgspec
from sqlalchemy import Connection, func, select

from gym_core.contracts import Outcome
from gym_core.store import Store
from gym_core.store.models import MetricsRow, RolloutRow

WINDOW = 20_000
BUDGET_S = 1.0
RECOUNT_S = 15.0
"""How often the counts are compared with the store, where rollouts may have been deleted or committed out of order."""

Points = list[tuple[int, float]]


@dataclass(slots=True)
class Tally:
    """Counts of one run. `complete` is False while older rollouts are still to be counted."""

    run_id: str
    last: int = 0
    count: int = 0
    newest_at: float = 0.0
    complete: bool = False
    outcomes: dict[str, Counter[str]] = field(default_factory=dict)
    rewards: dict[str, dict[int, tuple[float, int]]] = field(default_factory=dict)
    metrics: dict[int, dict[str, Any]] = field(default_factory=dict)
    _counted_at: float = 0.0

    async def catch_up(self, store: Store, budget_s: float = BUDGET_S) -> None:
        """Count what is new, as far as the time goes."""
        end = time.monotonic() + budget_s
        self.metrics.update(await store.read(self._newer_metrics))
        while True:
            rows = await store.read(self._newer)
            for row in rows:
                self._add(row)
            self.complete = sum(row.rollouts for row in rows) < WINDOW
            if self.complete or time.monotonic() >= end:
                break
        if self.complete and time.monotonic() - self._counted_at > RECOUNT_S:
            self._counted_at = time.monotonic()
            if await store.read(self._stored) != self.count:
                self._forget()
                await self.catch_up(store, max(0.0, end - time.monotonic()))

    def _forget(self) -> None:
        self.last = self.count = 0
        self.newest_at, self.complete = 0.0, False
        for counts in (self.outcomes, self.rewards, self.metrics):
            counts.clear()

    def _newer(self, connection: Connection) -> list[Any]:
        row = RolloutRow
        columns = (row.seq, row.environment, row.outcome, row.step, row.reward, row.created_at)
        window = select(*columns).where(row.run_id == self.run_id, row.seq > self.last).order_by(row.seq)
        new = window.limit(WINDOW).subquery().c
        query = select(
            new.environment,
            new.outcome,
            new.step,
            func.count().label("rollouts"),
            func.count(new.reward).label("rewarded"),
            func.sum(new.reward).label("reward"),
            func.max(new.seq).label("last"),
            func.max(new.created_at).label("newest_at"),
        ).group_by(new.environment, new.outcome, new.step)
        return list(connection.execute(query))

    def _add(self, row: Any) -> None:
        self.last = max(self.last, row.last)
        self.newest_at = max(self.newest_at, row.newest_at)
        self.count += row.rollouts
        self.outcomes.setdefault(row.environment, Counter())[row.outcome] += row.rollouts
        if row.rewarded and row.outcome in (Outcome.SCORED, Outcome.TRUNCATED):
            steps = self.rewards.setdefault(row.environment, {})
            total, count = steps.get(row.step, (0.0, 0))
            steps[row.step] = total + row.reward, count + row.rewarded

    def _newer_metrics(self, connection: Connection) -> dict[int, dict[str, Any]]:
        """From the last known step on: it may have got new numbers since."""
        row = MetricsRow
        query = select(row.step, row.values_json).where(row.run_id == self.run_id)
        if self.metrics:
            query = query.where(row.step >= max(self.metrics))
        return {step: msgspec.json.decode(values) for step, values in connection.execute(query.order_by(row.step))}

    def _stored(self, connection: Connection) -> int:
        query = select(func.count()).select_from(RolloutRow).where(RolloutRow.run_id == self.run_id)
        return connection.execute(query).scalar_one()

    # What a page asks

    def reward_curves(self) -> tuple[str, dict[str, Points]]:
        """(where from, reward by environment over steps): the trainer's own numbers where it wrote some, else the
        mean of the stored rollouts of each step."""
        prefix = "reward/"
        names = sorted({key for values in self.metrics.values() for key in values if key.startswith(prefix)})
        if names:
            return "metrics", {name.removeprefix(prefix): self.series(name) for name in names}
        means = {
            name: [(step, total / count) for step, (total, count) in sorted(steps.items())]
            for name, steps in sorted(self.rewards.items())
        }
        return "rollouts", means

    def series(self, name: str) -> Points:
        """One metric over steps; what was not finite is left out."""
        points = ((step, values.get(name)) for step, values in sorted(self.metrics.items()))
        return [(step, float(value)) for step, value in points if isinstance(value, int | float) and isfinite(value)]


def thinned(points: Points, limit: int = 300) -> Points:
    """At most `limit` points: each the mean of as many neighbours, at the last one's step."""
    size = math.ceil(len(points) / limit)
    if size <= 1:
        return points
    chunks = [points[start : start + size] for start in range(0, len(points), size)]
    return [(chunk[-1][0], math.fsum(value for _, value in chunk) / len(chunk)) for chunk in chunks]
