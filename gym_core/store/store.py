"""What is kept: runs, rollouts with their token blobs and task rows, metrics and task profiles.

    store = await Store.open("runs/store.db")               # or postgresql://user@host/db
    await store.put_rollout(rollout, blob, row)             # returns once committed; kill -9 loses nothing after that
    async for rollout, blob in store.iter_rollouts(run_id): ...
    await store.close()

Writes go through one thread (`writer.py`), reads through another (`reading.py`): SQLite is a library that blocks, and a
driver that hides its threads would cost each read another hop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, func, select

from gym_core.contracts import Outcome, Rollout, TaskProfile
from gym_core.store import compact, prune, runs
from gym_core.store.blobs import BlobWriter
from gym_core.store.compact import Compacted
from gym_core.store.engine import Engines, Synchronous, open_engines
from gym_core.store.entry import make_entry
from gym_core.store.lookup import Lookup
from gym_core.store.models import RolloutRow
from gym_core.store.prune import Pruned
from gym_core.store.reading import WITH_ROW, WITHOUT_ROW, Reading
from gym_core.store.records import Played, Run, Stored, Total
from gym_core.store.writer import Change, Writer

T = TypeVar("T")

_PAGE = 64


class Store:
    """One database and the token segments beside it. Made by `Store.open`; several processes may hold the same one."""

    def __init__(self, engines: Engines, synchronous: Synchronous = "normal") -> None:
        self._engines = engines
        self.name = engines.name
        self._writer = Writer(engines.write, BlobWriter(engines.blobs, sync=synchronous == "full"), engines.name)
        self._reading = Reading(engines)
        self._lookup = Lookup(self._reading)
        self._closed = False

    @classmethod
    async def open(cls, path_or_url: str | Path, create: bool = True, *, synchronous: Synchronous = "normal") -> Store:
        """Open or make the store; an older one is upgraded. `synchronous="full"` also survives a power cut.

        Raises `UnknownName` (missing and not to be made), `Conflict` (written by a newer version), `BadRequest` (not a
        store), `Unavailable` (nobody answers), `StoreFault` (the disk refuses).
        """
        return cls(await asyncio.to_thread(open_engines, path_or_url, create, synchronous), synchronous)

    @property
    def path(self) -> Path:
        """The database file. Raises `AttributeError` where the database is a server's."""
        if self._engines.path is None:
            raise AttributeError(f"{self.name} is no file")
        return self._engines.path

    @property
    def blobs(self) -> Path:
        """Folder of the token segments."""
        return self._engines.blobs

    async def __aenter__(self) -> Store:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Commit what is queued and let go of the files. Idempotent."""
        if not self._closed:
            self._closed = True
            await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._writer.close()
        self._reading.close()
        self._engines.dispose()

    # rollouts

    async def put_rollout(self, rollout: Rollout, blob: bytes = b"", row: Mapping[str, Any] | None = None) -> bool:
        """Keep a rollout, its token blob and the task row it was played from; returns once all are committed.

        The same id again keeps the first: False where that is another record than this. Raises `BadRequest` for what
        could not be read back (no id, a number that is not finite), `StoreFault` when the disk refuses: nothing of
        this rollout is kept then, and the store goes on.
        """
        kept: bool = await self._writer.submit(make_entry(rollout, blob, row))
        return kept

    async def get_rollout(self, rollout_id: str) -> tuple[Rollout, bytes] | None:
        """The rollout and its blob, None when there is none. Raises `StoreFault` when the bytes have been damaged."""
        found = await self.get_stored(rollout_id)
        return None if found is None else (found.rollout, found.blob)

    async def get_stored(self, rollout_id: str, *, blobs: bool = True) -> Stored | None:
        """As `get_rollout`, with the task row."""
        if "\0" in rollout_id:
            return None
        return await self._lookup.get(rollout_id, blobs)

    async def iter_rollouts(
        self,
        run_id: str | None = None,
        *,
        environment: str | None = None,
        group_id: str | None = None,
        step: int | None = None,
        outcome: Outcome | None = None,
        blobs: bool = True,
    ) -> AsyncIterator[tuple[Rollout, bytes]]:
        """Rollouts in order of commit, a page at a time; those committed meanwhile are seen too.

        None leaves a filter out; `blobs=False` leaves the token segments alone and gives b"".
        """
        wanted = _filters(run_id, environment, group_id, step, outcome)
        async for stored in self._iterate(wanted, blobs, rows=False):
            yield stored.rollout, stored.blob

    async def iter_stored(
        self, run_id: str | None = None, *, environment: str | None = None, blobs: bool = True
    ) -> AsyncIterator[Stored]:
        """As `iter_rollouts`, with the task rows."""
        async for stored in self._iterate(_filters(run_id, environment, None, None, None), blobs, rows=True):
            yield stored

    async def _iterate(self, wanted: Sequence[ColumnElement[bool]], blobs: bool, rows: bool) -> AsyncIterator[Stored]:
        query = (WITH_ROW if rows else WITHOUT_ROW).where(*wanted).order_by(RolloutRow.seq).limit(_PAGE)
        last = 0

        def read(connection: Connection) -> list[tuple[int, Stored | None]]:
            page = connection.execute(query.where(RolloutRow.seq > last)).all()
            return [(row.seq, self._reading.open(connection, row, blobs)) for row in page]

        while found := await self._reading.ask(read):
            for _, stored in found:
                if stored is not None:
                    yield stored
            last = found[-1][0]

    async def count_rollouts(
        self,
        run_id: str | None = None,
        *,
        environment: str | None = None,
        group_id: str | None = None,
        step: int | None = None,
        outcome: Outcome | None = None,
    ) -> int:
        """How many rollouts `iter_rollouts` would give."""
        wanted = _filters(run_id, environment, group_id, step, outcome)
        query = select(func.count()).select_from(RolloutRow).where(*wanted)
        return await self._reading.ask(lambda connection: connection.execute(query).scalar_one())

    async def totals(self, run_id: str) -> list[Total]:
        """Rollouts of a run by environment and outcome, counted by the database."""
        return await self._reading.ask(lambda connection: runs.totals(connection, run_id))

    # runs, metrics, profiles

    async def create_run(self, run: Run) -> None:
        """Keep a new run. Raises `Conflict` when its id is taken."""
        await self._change(lambda connection: runs.create(connection, run))

    async def finish_run(self, run_id: str, status: str = "done", summary: Mapping[str, Any] | None = None) -> None:
        """Say how a run ended; None keeps the summary. Raises `UnknownName`."""
        await self._change(lambda connection: runs.finish(connection, run_id, status, summary))

    async def run(self, run_id: str) -> Run | None:
        return await self._reading.ask(lambda connection: runs.get(connection, run_id))

    async def runs(self) -> list[Run]:
        """All runs, oldest first."""
        return await self._reading.ask(runs.all_runs)

    async def played(self) -> list[Played]:
        """How much of each run is stored, also of runs that nobody created."""
        return await self._reading.ask(runs.played)

    async def put_metrics(self, run_id: str, step: int, values: Mapping[str, Any]) -> None:
        """Keep numbers of a step; given again, new keys join and old ones are replaced."""
        await self._change(lambda connection: runs.put_metrics(connection, run_id, step, values))

    async def metrics(self, run_id: str) -> list[tuple[int, dict[str, Any]]]:
        """(step, values) of a run in order of step. A value that was not finite is None."""
        return await self._reading.ask(lambda connection: runs.metrics(connection, run_id))

    async def put_profiles(self, profiles: Iterable[TaskProfile]) -> None:
        """Keep how often tasks are solved; the same task and checkpoint again replaces."""
        kept = list(profiles)
        await self._change(lambda connection: runs.put_profiles(connection, kept))

    async def profiles(self, environment: str | None = None, checkpoint: str | None = None) -> list[TaskProfile]:
        return await self._reading.ask(lambda connection: runs.profiles(connection, environment, checkpoint))

    # housekeeping

    async def compact(self, progress: Callable[[int, int], None] | None = None) -> Compacted:
        """Compress the token segments that nobody writes, and give back what no rollout needs.

        `progress` hears bytes done and bytes in all, in another thread. Raises `Conflict` while another process
        compacts or prunes, `StoreFault` when the disk refuses; whatever happens, each blob can be read.
        """
        return await asyncio.to_thread(compact.compact, self._engines, progress)

    async def prune(self, run_ids: Iterable[str]) -> Pruned:
        """Forget the rollouts of these runs and free their segments; the runs with their summaries and metrics stay."""
        return await asyncio.to_thread(prune.prune, self._engines, list(run_ids))

    async def read(self, query: Callable[[Connection], T]) -> T:
        """What `query` finds on the reading connection, in the reading thread. For selections of a caller's own."""
        return await self._reading.ask(query)

    # inside

    async def _change(self, apply: Callable[[Connection], T]) -> T:
        return await self._writer.submit(Change(apply))


def _filters(
    run_id: str | None, environment: str | None, group_id: str | None, step: int | None, outcome: Outcome | None
) -> list[ColumnElement[bool]]:
    wanted = (
        (RolloutRow.run_id, run_id),
        (RolloutRow.environment, environment),
        (RolloutRow.group_id, group_id),
        (RolloutRow.step, step),
        (RolloutRow.outcome, None if outcome is None else str(outcome)),
    )
    return [column == value for column, value in wanted if value is not None]
