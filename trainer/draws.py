"""The rows of steps that are drawn but not trained yet: they are saved with a checkpoint, so no resume draws others.

With overlap a step is drawn while the one before it trains. Drawn again after a resume it would see pass rates that
are one step newer, and get other tasks than the rollouts that are stored under its ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gym_core.errors import BadRequest
from trainer.curriculum import Curriculum

Row = dict[str, Any]
Task = tuple[str, str]


class Drawn(msgspec.Struct, frozen=True):
    """One step's tasks as (environment, task id), in their order, and the curriculum's metrics of the draw."""

    tasks: list[Task]
    metrics: dict[str, float] = {}


class Draws:
    """Draws each step once, whoever asks and how often."""

    def __init__(self, curriculum: Curriculum) -> None:
        self._curriculum = curriculum
        self._open: dict[int, Drawn] = {}

    def rows(self, step: int) -> list[Row]:
        """The step's rows: drawn now, or as they were drawn before."""
        if step not in self._open:
            drawn = self._curriculum.draw(step)
            self._open[step] = Drawn(tasks_of(drawn), dict(self._curriculum.last_metrics))
            return drawn
        return [self._row(task) for task in self._open[step].tasks]

    def open(self, step: int) -> Drawn:
        return self._open[step]

    def trained(self, step: int) -> None:
        """Forget a step: the curriculum has learnt from it."""
        del self._open[step]

    def state_dict(self) -> dict[int, Drawn]:
        return dict(self._open)

    def load_state_dict(self, state: Mapping[int, Drawn]) -> None:
        self._open = dict(state)

    def _row(self, task: Task) -> Row:
        environment, task_id = task
        pool = self._curriculum.pools.get(environment)
        if pool is None or task_id not in pool.rows:
            raise BadRequest(
                f"the checkpoint has drawn the task {environment}/{task_id}, which is in no pool",
                field=f"environments.{environment}",
                hint="resume with the recipe and the environments that the run was started with",
            )
        return pool.rows[task_id]


def tasks_of(rows: Sequence[Mapping[str, Any]]) -> list[Task]:
    return [(str(row["environment"]), str(row["task_id"])) for row in rows]
