"""Statements for runs, their metrics and task profiles; each function runs on a connection it is given.

Secrets are masked on the way in: a recipe may hold a key, the database never does.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, func, insert, select, update

from gym_core import auth
from gym_core.contracts import TaskProfile
from gym_core.errors import Conflict, UnknownName
from gym_core.store.dialect import insert_into
from gym_core.store.models import MetricsRow, ProfileRow, RolloutRow, RunRow
from gym_core.store.records import Played, Run, Total


def _text(value: Mapping[str, Any]) -> str:
    return msgspec.json.encode(auth.redact(value)).decode()


def create(connection: Connection, run: Run) -> None:
    row = {
        **{name: getattr(run, name) for name in run.__struct_fields__},
        "recipe": _text(run.recipe),
        "summary": _text(run.summary),
        "created_at": run.created_at or time.time(),
    }
    if connection.execute(select(RunRow.run_id).where(RunRow.run_id == run.run_id)).first() is not None:
        raise Conflict(f"there is a run {run.run_id!r} already", field="run_id", hint="resume it, or choose another id")
    connection.execute(insert(RunRow), row)


def finish(connection: Connection, run_id: str, status: str, summary: Mapping[str, Any] | None) -> None:
    values: dict[str, Any] = {"status": status, "finished_at": time.time()}
    if summary is not None:
        values["summary"] = _text(summary)
    if connection.execute(update(RunRow).where(RunRow.run_id == run_id).values(values)).rowcount == 0:
        raise UnknownName(f"there is no run {run_id!r}", field="run_id")


def _run(row: Any) -> Run:
    fields = {name: getattr(row, name) for name in Run.__struct_fields__}
    fields["recipe"] = msgspec.json.decode(row.recipe)
    fields["summary"] = msgspec.json.decode(row.summary)
    return Run(**fields)


def get(connection: Connection, run_id: str) -> Run | None:
    row = connection.execute(select(RunRow.__table__).where(RunRow.run_id == run_id)).one_or_none()
    return None if row is None else _run(row)


def all_runs(connection: Connection) -> list[Run]:
    query = select(RunRow.__table__).order_by(RunRow.created_at, RunRow.run_id)
    return [_run(row) for row in connection.execute(query)]


def played(connection: Connection) -> list[Played]:
    """What each run has stored, also runs that nobody created: an agent server plays for whoever asks."""
    query = (
        select(RolloutRow.run_id, func.count(), func.min(RolloutRow.created_at), func.max(RolloutRow.created_at))
        .group_by(RolloutRow.run_id)
        .order_by(func.min(RolloutRow.seq))
    )
    return [Played(*row) for row in connection.execute(query)]


def totals(connection: Connection, run_id: str) -> list[Total]:
    """Rollouts of a run by environment and outcome."""
    columns = (RolloutRow.environment, RolloutRow.outcome)
    query = (
        select(*columns, func.count(), func.count(RolloutRow.reward), func.sum(RolloutRow.reward))
        .where(RolloutRow.run_id == run_id)
        .group_by(*columns)
        .order_by(*columns)
    )
    return [
        Total(environment, outcome, count, rewarded, float(reward_sum or 0.0))
        for environment, outcome, count, rewarded, reward_sum in connection.execute(query)
    ]


def put_metrics(connection: Connection, run_id: str, step: int, values: Mapping[str, Any]) -> None:
    where = (MetricsRow.run_id == run_id, MetricsRow.step == step)
    there = connection.execute(select(MetricsRow.values_json).where(*where)).scalar()
    merged = {**(msgspec.json.decode(there) if there else {}), **values}
    statement = insert_into(connection, MetricsRow).values(run_id=run_id, step=step, values_json=_text(merged))
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["run_id", "step"], set_={"values_json": statement.excluded["values_json"]}
        )
    )


def metrics(connection: Connection, run_id: str) -> list[tuple[int, dict[str, Any]]]:
    query = select(MetricsRow.step, MetricsRow.values_json).where(MetricsRow.run_id == run_id).order_by(MetricsRow.step)
    return [(step, msgspec.json.decode(values)) for step, values in connection.execute(query)]


def put_profiles(connection: Connection, profiles: Sequence[TaskProfile]) -> None:
    if not profiles:
        return
    statement = insert_into(connection, ProfileRow)
    statement = statement.on_conflict_do_update(
        index_elements=["environment", "task_id", "checkpoint"],
        set_={"passes": statement.excluded.passes, "count": statement.excluded["count"]},
    )
    connection.execute(statement, [msgspec.structs.asdict(profile) for profile in profiles])


def profiles(connection: Connection, environment: str | None, checkpoint: str | None) -> list[TaskProfile]:
    query = select(ProfileRow.__table__).order_by(ProfileRow.environment, ProfileRow.task_id, ProfileRow.checkpoint)
    if environment is not None:
        query = query.where(ProfileRow.environment == environment)
    if checkpoint is not None:
        query = query.where(ProfileRow.checkpoint == checkpoint)
    return [TaskProfile(**row._mapping) for row in connection.execute(query)]
