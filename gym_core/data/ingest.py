"""Rows from outside through an environment's own check: taken ones to one file, refused ones to another.

    lines ─▶ JSON object? ─▶ which environment? ─▶ prepare ─▶ its `ingest`, a batch at a time ─▶ taken | refused

Rows keep the order of the file, also where it mixes environments. A row that is refused never stops the others; a
service that fails stops everything, and then neither file is left behind.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gym_core.data.lines import Line, read_lines
from gym_core.data.refusals import Refusals, refused_row
from gym_core.data.whole_file import WholeFile
from gym_core.errors import ErrorInfo, PalaestraError

Row = dict[str, Any]
Check = Callable[[str, list[Row]], Awaitable[list[Row | ErrorInfo]]]
"""(environment, rows) ─▶ each row as the environment takes it, or why not."""

BATCH_ROWS = 256
BATCH_BYTES = 8 << 20
ROUTES = ("environment", "task_source", "environment_name")


@dataclass(slots=True)
class Ingested:
    """What came of a file."""

    rows: int = 0
    taken: int = 0
    by_environment: Counter[str] = field(default_factory=Counter)
    refusals: Refusals = field(default_factory=Refusals)


@dataclass(slots=True)
class _Read:
    """A line on its way: `row` as it came, then `result` as it goes."""

    line: Line
    row: Row | None = None
    environment: str = ""
    result: Row | ErrorInfo | None = None


def routed(row: Row) -> str:
    """The name that a row itself gives its environment, "" where it gives none."""
    agent = row.get("agent_ref")
    names = [*(row.get(key) for key in ROUTES), agent.get("name") if isinstance(agent, dict) else None]
    return next((name for name in names if isinstance(name, str) and name), "")


async def ingest(
    path: Path,
    out: WholeFile,
    refused: WholeFile,
    check: Check,
    *,
    environment_of: Callable[[Row], str],
    prepare: Callable[[Row], Row] = lambda row: row,
    on_bytes: Callable[[int], Any] = lambda _: None,
) -> Ingested:
    """Check every row of `path`.

    `environment_of` names a row's environment and `prepare` changes the row before it is checked; a `PalaestraError` of
    either refuses it. `on_bytes` hears how far the file has been read.
    """
    done = Ingested()
    for batch in _batches(path):
        for read in batch:
            _prepare(read, environment_of, prepare)
        await _check(batch, check)
        for read in batch:
            _settle(read, out, refused, done)
        on_bytes(batch[-1].line.offset + len(batch[-1].line.data))
    return done


def _batches(path: Path) -> Iterator[list[_Read]]:
    batch: list[_Read] = []
    num_bytes = 0
    for line in read_lines(path):
        batch.append(_Read(line))
        num_bytes += len(line.data)
        if len(batch) >= BATCH_ROWS or num_bytes >= BATCH_BYTES:
            yield batch
            batch, num_bytes = [], 0
    if batch:
        yield batch


def _prepare(read: _Read, environment_of: Callable[[Row], str], prepare: Callable[[Row], Row]) -> None:
    try:
        read.row = read.line.row()
        read.environment = environment_of(read.row)
        read.result = prepare(read.row)
    except PalaestraError as error:
        read.result = error.info()


async def _check(batch: list[_Read], check: Check) -> None:
    """Ask each environment about its rows of the batch, all environments at once."""
    groups: dict[str, list[_Read]] = {}
    for read in batch:
        if isinstance(read.result, dict):
            groups.setdefault(read.environment, []).append(read)
    asked = [check(name, [_row(read) for read in group]) for name, group in groups.items()]
    for group, answers in zip(groups.values(), await asyncio.gather(*asked), strict=True):
        for read, answer in zip(group, answers, strict=True):
            read.result = answer


def _row(read: _Read) -> Row:
    assert isinstance(read.result, dict)
    return read.result


def _settle(read: _Read, out: WholeFile, refused: WholeFile, done: Ingested) -> None:
    done.rows += 1
    if isinstance(read.result, ErrorInfo):
        done.refusals.add(read.line.number, read.result)
        refused.row(refused_row(read.line, read.result, read.row))
        return
    out.row(read.result)
    done.taken += 1
    done.by_environment[read.environment] += 1
