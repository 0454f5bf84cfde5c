"""The one thread of a process that writes the database: it commits whatever has queued, then wakes who waited.

    put ─▶ queue ─▶ blobs to the segment ─▶ rows in one transaction ─▶ commit ─▶ futures resolve

No lingering: the first rollout commits at once, and those that arrive meanwhile make the next batch. A server that hung
up is asked once more where nothing but rollouts was to be written: the same id twice keeps the first.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, Table, select

from gym_core.errors import Unavailable
from gym_core.store.blobs import BlobRef, BlobWriter
from gym_core.store.dialect import KeepFirst
from gym_core.store.fault import StoreFault, fault_of, lost_connection
from gym_core.store.models import RolloutRow, TaskRow

_ROLLOUTS = RolloutRow.__table__
MAX_BATCH = 256
"""Rollouts in one transaction, so that a crowd does not hold the write lock for long."""

INSERTS = 3
"""How often a row is inserted that vanishes before it is looked at."""


@dataclass(slots=True, eq=False)
class Put:
    """A rollout to insert, and the task row it was played from; `place` is set once its blob is in the segment.

    Its result says whether it is what the store has now: False when its id was taken by another record.
    """

    row: dict[str, Any]
    blob: bytes
    task: dict[str, str] | None = None
    place: BlobRef | None = None


@dataclass(slots=True, eq=False)
class Change:
    """Anything else that writes: `apply` runs inside the transaction and its result is the caller's."""

    apply: Callable[[Connection], Any]


@dataclass(slots=True, eq=False)
class _Job:
    work: Put | Change
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    result: Any = field(default=None)
    error: Exception | None = None


class Writer:
    """Owns the writing connection and the blob file. `submit` from any event loop."""

    def __init__(self, engine: Engine, blobs: BlobWriter, name: str) -> None:
        self._engine = engine
        self._blobs = blobs
        self._name = name
        self._connection: Connection | None = None
        self._inserts: dict[str, KeepFirst] = {}
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._gate = threading.Lock()  # nothing is queued behind the end mark
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Put | Change) -> asyncio.Future[Any]:
        """A future that resolves once `work` is committed. Raises `Unavailable` after `close`."""
        loop = asyncio.get_running_loop()
        job = _Job(work, loop.create_future(), loop)
        with self._gate:
            if self._closed:
                raise Unavailable(f"the store {self._name} is closed", stage="store")
            self._queue.put(job)
        return job.future

    def close(self) -> None:
        """Commit what is queued, then end the thread. Blocks; idempotent."""
        with self._gate:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        open_ = True
        while open_:
            first = self._queue.get()
            if first is None:
                break
            jobs = [first]
            while len(jobs) < MAX_BATCH and not self._queue.empty():
                job = self._queue.get()
                if job is None:
                    open_ = False
                    break
                jobs.append(job)
            self._commit(jobs)
            _wake(jobs)
        self._drop_connection()
        self._blobs.close()

    def _commit(self, jobs: list[_Job], again: bool = True) -> None:
        """All in one transaction; when that fails each on its own, so that only the guilty one is refused."""
        try:
            self._transact(jobs)
        except Exception as error:
            self._drop_connection()
            if again and lost_connection(error) and all(isinstance(job.work, Put) for job in jobs):
                self._commit(jobs, again=False)
            elif len(jobs) == 1:
                jobs[0].error = fault_of(error, self._name)
            else:
                for job in jobs:
                    self._commit([job], again)

    def _transact(self, jobs: list[_Job]) -> None:
        puts = [job.work for job in jobs if isinstance(job.work, Put)]
        unplaced = [put for put in puts if put.place is None]
        for put, place in zip(unplaced, self._blobs.append([put.blob for put in unplaced]), strict=True):
            put.place = place
        if self._connection is None:
            self._connection = self._engine.connect()
        if len(puts) == len(jobs) and self._all_new(self._connection, puts):
            for job in jobs:
                job.result = True
            return
        with self._connection.begin():
            others = self._insert(self._connection, puts) if puts else set()
            for job in jobs:
                if isinstance(job.work, Change):
                    job.result = job.work.apply(self._connection)
                else:
                    job.result = id(job.work) not in others

    def _all_new(self, connection: Connection, puts: list[Put]) -> bool:
        """Insert them with SQLite's own driver, whose transaction costs a fifth of SQLAlchemy's; how nearly every batch
        goes. False, and nothing is written, where an id was taken or the database is another."""
        driver = connection.connection.driver_connection
        if not isinstance(driver, sqlite3.Connection):
            return False
        try:
            driver.execute("BEGIN IMMEDIATE")
            if tasks := _task_rows(puts):
                self._statement(connection, TaskRow.__table__, "task_key", tasks).run_plain(driver, tasks)
            rows = [_full_row(put) for put in puts]
            new = self._statement(connection, _ROLLOUTS, "rollout_id", rows).run_plain(driver, rows) == len(puts)
            driver.execute("COMMIT" if new else "ROLLBACK")
        except BaseException:
            driver.rollback()
            raise
        return new

    def _insert(self, connection: Connection, puts: list[Put]) -> set[int]:
        """Task rows first, in this same transaction: whoever tidies up never sees one without its rollout.

        Returns which puts (by `id`) found another record under theirs. One whose record was there for the insert and
        gone for the look at it (somebody deletes rows in the server, without our lock) is inserted again.
        """
        others: set[int] = set()
        for _ in range(INSERTS):
            puts, found = self._insert_once(connection, puts)
            others |= found
            if not puts:
                return others
        name = puts[0].row["rollout_id"]
        raise StoreFault(
            f"{self._name}: rollout {name!r} is deleted as often as it is written",
            stage="store",
            hint="see who deletes rows of the table `rollouts`, and try again",
        )

    def _insert_once(self, connection: Connection, puts: list[Put]) -> tuple[list[Put], set[int]]:
        """Which puts are not there after all, and which (by `id`) found another record."""
        if tasks := _task_rows(puts):
            self._statement(connection, TaskRow.__table__, "task_key", tasks).run(connection, tasks)
        rows = [_full_row(put) for put in puts]
        if self._statement(connection, _ROLLOUTS, "rollout_id", rows).run(connection, rows) == len(puts):
            return [], set()
        there = select(_ROLLOUTS.c.rollout_id, _ROLLOUTS.c.record, _ROLLOUTS.c.blob_crc32, _ROLLOUTS.c.blob_length)
        found = connection.execute(there.where(_ROLLOUTS.c.rollout_id.in_([row["rollout_id"] for row in rows])))
        known = {name: tuple(rest) for name, *rest in found}
        gone, others = [], set()
        for put, row in zip(puts, rows, strict=True):
            kept = known.get(row["rollout_id"])
            if kept is None:
                gone.append(put)
            elif kept != (row["record"], row["blob_crc32"], row["blob_length"]):
                others.add(id(put))
        return gone, others

    def _statement(self, connection: Connection, table: Table, key: str, rows: list[dict[str, Any]]) -> KeepFirst:
        insert = self._inserts.get(table.name)
        if insert is None:
            insert = self._inserts[table.name] = KeepFirst(connection.dialect, table, key, list(rows[0]))
        return insert

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _task_rows(puts: list[Put]) -> list[dict[str, Any]]:
    """The task rows that they were played from, each once."""
    return list({put.task["task_key"]: put.task for put in puts if put.task is not None}.values())


def _full_row(put: Put) -> dict[str, Any]:
    assert put.place is not None
    file, offset, length, crc32 = put.place
    return {**put.row, "blob_file": file, "blob_offset": offset, "blob_length": length, "blob_crc32": crc32}


def _wake(jobs: list[_Job]) -> None:
    """Resolve the futures of a batch: one call into each event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
    for job in jobs:
        by_loop.setdefault(job.loop, []).append(job)
    for loop, done in by_loop.items():
        if not loop.is_closed():  # otherwise nobody waits any more
            try:
                loop.call_soon_threadsafe(_resolve, done)
            except RuntimeError:  # closed since
                continue


def _resolve(jobs: list[_Job]) -> None:
    for job in jobs:
        if job.future.done():  # whoever waited was cancelled; the work stays done
            continue
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.result)
