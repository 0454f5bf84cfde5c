"""Retention: forgets the rollouts of runs that were chosen, then frees what their tokens took.

A run itself stays, with its summary and metrics; only what is large goes. Rows are deleted before segments, so a kill
in between leaves bytes that no row names, which the next call or `compact` frees.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec
from sqlalchemy import delete, select
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from gym_core.errors import BadRequest
from gym_core.store.compact import Compacted, compact
from gym_core.store.engine import Engines
from gym_core.store.fault import fault_of
from gym_core.store.models import RolloutRow, TaskRow
from gym_core.store.records import Played, Run

_BATCH = 500
"""Rows deleted in one transaction: writers wait for it."""


class Pruned(msgspec.Struct, kw_only=True):
    """What came of it. `bytes_freed` counts token segments; `compacted` says more. `vacuumed`: the SQLite file was
    rewritten without the room that was freed; not so while another process wrote to it."""

    runs: list[str] = []
    rollouts: int = 0
    bytes_freed: int = 0
    vacuumed: bool = False
    compacted: Compacted = msgspec.field(default_factory=Compacted)


def choose(
    runs: Sequence[Run], played: Sequence[Played], *, keep_last: int | None, older_than_s: float | None
) -> list[str]:
    """Ids of runs whose rollouts may go, oldest first: not among the `keep_last` newest, and ended before
    `older_than_s` ago; a run that is still `running` never. None leaves a rule out, both out is refused.

    Runs that nobody created count by their last rollout.
    """
    if keep_last is None and older_than_s is None:
        raise BadRequest("say what may go: keep_last or older_than", field="keep_last")
    known = {run.run_id: run for run in runs}
    ended = {
        one.run_id: known[one.run_id].finished_at or one.last_at if one.run_id in known else one.last_at
        for one in played
    }
    order = sorted(ended, key=lambda name: (ended[name], name))
    kept = set(order[len(order) - keep_last :]) if keep_last else set()
    before = time.time() - (older_than_s or 0.0)
    return [
        name
        for name in order
        if name not in kept
        and (older_than_s is None or ended[name] <= before)
        and not (name in known and known[name].status == "running")
    ]


def prune(engines: Engines, run_ids: Sequence[str]) -> Pruned:
    """Delete the rollouts of these runs, task rows that no rollout has any more, and their tokens."""
    result = Pruned(runs=list(run_ids))
    try:
        for run_id in run_ids:
            result.rollouts += _forget(engines, run_id)
        if result.rollouts:
            with engines.write.begin() as connection:
                played = select(RolloutRow.task_key).distinct()
                connection.execute(delete(TaskRow).where(TaskRow.task_key.not_in(played)))
        result.compacted = compact(engines)
        result.bytes_freed = result.compacted.bytes_before - result.compacted.bytes_after
        result.vacuumed = bool(result.rollouts) and _vacuum(engines)
    except SQLAlchemyError as error:
        raise fault_of(error, engines.name) from None
    return result


def _forget(engines: Engines, run_id: str) -> int:
    some = select(RolloutRow.seq).where(RolloutRow.run_id == run_id).order_by(RolloutRow.seq).limit(_BATCH)
    count = 0
    while True:
        with engines.write.begin() as connection:
            gone = connection.execute(delete(RolloutRow).where(RolloutRow.seq.in_(some.scalar_subquery()))).rowcount
        count += gone
        if gone < _BATCH:
            return count


def _vacuum(engines: Engines) -> bool:
    """SQLite keeps the pages of deleted rows for new ones; PostgreSQL frees them by itself."""
    if engines.path is None:
        return False
    try:
        with engines.read.connect() as connection:
            connection.exec_driver_sql("VACUUM")
    except (
        OperationalError
    ):  # somebody writes, or there is no room for a second copy: the file stays as large as it was
        return False
    return True
