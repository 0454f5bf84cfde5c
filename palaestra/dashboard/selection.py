"""Pages of a run's rollouts, filtered and searched in the store, in bounded time however long the run is.

newest ─▶ windows of 4,096 rollouts ─▶ the page is full, the run is over, or the time is: go on from `next`
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, and_, case, func, or_, select

from gym_core.contracts import Outcome
from gym_core.errors import BadRequest
from gym_core.store import Store
from gym_core.store.models import RolloutRow
from palaestra.dashboard.conversation import last_words

WINDOW = 4096
BUDGET_S = 1.5
MAX_PAGE = 200
MAX_NEEDLE = 200
MAX_RUNS = 500
LARGE_RECORD = 256_000
"""Characters of a record above which a list does not open it."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A selection. `before` and `after` are places in the order of commit; `after` turns the order round."""

    run_id: str
    environment: str = ""
    outcome: str = ""
    step: int | None = None
    group_id: str = ""
    reward_min: float | None = None
    reward_max: float | None = None
    text: str = ""
    before: int | None = None
    after: int | None = None
    limit: int = 50

    def check(self) -> None:
        """Raises `BadRequest` for what cannot be asked."""
        if not 1 <= self.limit <= MAX_PAGE:
            raise BadRequest(f"a page has 1 to {MAX_PAGE} rollouts", field="limit")
        if len(self.text) > MAX_NEEDLE:
            raise BadRequest(f"a search has at most {MAX_NEEDLE} characters", field="text")
        if self.outcome and self.outcome not in list(Outcome):
            raise BadRequest(f"there is no outcome {self.outcome!r}", field="outcome", hint=", ".join(Outcome))


class Page(msgspec.Struct, kw_only=True):
    """Rollouts of a selection; `next` is where to go on, None at the end; `scanned` how many were looked at."""

    rollouts: list[dict[str, Any]]
    next: int | None
    scanned: int


async def page(store: Store, wanted: Wanted, budget_s: float = BUDGET_S) -> Page:
    """One page, newest first (oldest first after a place). It may be short, or empty, with a `next`: time was up."""
    wanted.check()
    end = time.monotonic() + budget_s
    found = Page(rollouts=[], next=None, scanned=0)
    newest_first = wanted.after is None
    place = wanted.before if newest_first else wanted.after
    while True:
        left = wanted.limit - len(found.rollouts)
        rows, seen, edge = await store.read(partial(_window, wanted=wanted, place=place, limit=left))
        found.rollouts += [_head(row) for row in rows]
        found.scanned += seen
        if len(rows) == left:
            found.next = rows[-1].seq
            return found
        if seen < WINDOW:
            return found
        place = found.next = edge
        if time.monotonic() >= end:
            return found
        found.next = None


def _window(connection: Connection, wanted: Wanted, place: int | None, limit: int) -> tuple[list[Any], int, int]:
    """(rows that fit, how many were looked at, the last place of these) of the next window."""
    newest_first = wanted.after is None
    order = RolloutRow.seq.desc() if newest_first else RolloutRow.seq.asc()
    beyond = [] if place is None else [RolloutRow.seq < place if newest_first else RolloutRow.seq > place]
    in_run = and_(RolloutRow.run_id == wanted.run_id, *beyond)
    window = select(RolloutRow.seq).where(in_run).order_by(order).limit(WINDOW).subquery()
    seen, low, high = connection.execute(
        select(func.count(), func.min(window.c.seq), func.max(window.c.seq)).select_from(window)
    ).one()
    if not seen:
        return [], 0, 0
    record = case((func.length(RolloutRow.record) <= LARGE_RECORD, RolloutRow.record), else_=None).label("record")
    query: Select[Any] = (
        select(*_COLUMNS, record)
        .where(in_run, RolloutRow.seq.between(low, high), *_conditions(wanted, connection.dialect.name))
        .order_by(order)
        .limit(limit)
    )
    return list(connection.execute(query)), seen, low if newest_first else high


_COLUMNS = (
    RolloutRow.seq,
    RolloutRow.rollout_id,
    RolloutRow.environment,
    RolloutRow.task_id,
    RolloutRow.group_id,
    RolloutRow.step,
    RolloutRow.outcome,
    RolloutRow.reward,
    RolloutRow.created_at,
    func.length(RolloutRow.record).label("record_chars"),
)


def _conditions(wanted: Wanted, dialect: str) -> list[ColumnElement[bool]]:
    equal = (
        (RolloutRow.environment, wanted.environment or None),
        (RolloutRow.outcome, wanted.outcome or None),
        (RolloutRow.step, wanted.step),
        (RolloutRow.group_id, wanted.group_id or None),
    )
    conditions: list[ColumnElement[bool]] = [column == value for column, value in equal if value is not None]
    if wanted.reward_min is not None:
        conditions.append(RolloutRow.reward >= wanted.reward_min)
    if wanted.reward_max is not None:
        conditions.append(RolloutRow.reward <= wanted.reward_max)
    if wanted.text:
        conditions.append(_said(wanted.text, dialect))
    return conditions


def _said(needle: str, dialect: str) -> ColumnElement[bool]:
    """Whether the record holds these words, letter case aside; they stand in it as JSON escapes them."""
    escaped = msgspec.json.encode(needle).decode()[1:-1]
    for sign in ("\\", "%", "_"):
        escaped = escaped.replace(sign, "\\" + sign)
    like = RolloutRow.record.like if dialect == "sqlite" else RolloutRow.record.ilike  # SQLite's LIKE looks past case
    return or_(like(f"%{escaped}%", escape="\\"))


class _Usage(msgspec.Struct):
    output_tokens: int = 0
    turns: int = 0


class _Error(msgspec.Struct):
    message: str = ""


class _Record(msgspec.Struct):
    output: list[dict[str, Any]] = []
    usage: _Usage = msgspec.field(default_factory=_Usage)
    error: _Error | None = None
    repeat: int = 0
    timings_ms: dict[str, float] = {}


_decoder = msgspec.json.Decoder(_Record)


def _head(row: Any) -> dict[str, Any]:
    """A rollout as a list shows it. A record that is too large, or cannot be read, leaves its own words out."""
    head = {key: value for key, value in row._mapping.items() if key != "record"}
    try:
        record = _Record() if row.record is None else _decoder.decode(row.record)
    except msgspec.MsgspecError:
        record = _Record()
    said = record.error.message if record.error is not None else last_words(record.output)
    return head | {
        "repeat": record.repeat,
        "turns": record.usage.turns,
        "tokens": record.usage.output_tokens,
        "total_ms": record.timings_ms.get("total"),
        "said": said[:160],
    }


def group(connection: Connection, group_id: str, limit: int = 64) -> list[dict[str, Any]]:
    """Members of a group by what lists need of them."""
    if not group_id:
        return []
    columns = (RolloutRow.seq, RolloutRow.rollout_id, RolloutRow.outcome, RolloutRow.reward, RolloutRow.step)
    query = select(*columns).where(RolloutRow.group_id == group_id).order_by(RolloutRow.seq).limit(limit)
    return [dict(row._mapping) for row in connection.execute(query)]


def place_of(connection: Connection, rollout_id: str) -> int | None:
    """Where a rollout stands in the order of commit."""
    return connection.execute(select(RolloutRow.seq).where(RolloutRow.rollout_id == rollout_id)).scalar()


def run_ids(connection: Connection) -> list[str]:
    """Runs that rollouts name, whether or not somebody kept a record of the run: a hop over the index for each."""
    found: list[str] = []
    while len(found) < MAX_RUNS:
        query = select(func.min(RolloutRow.run_id))
        name = connection.execute(query.where(RolloutRow.run_id > found[-1]) if found else query).scalar()
        if name is None:
            break
        found.append(name)
    return found
