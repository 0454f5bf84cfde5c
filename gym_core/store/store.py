"""What is kept: runs, rollouts with their token blobs, metrics and task profiles.

    store = await Store.open("runs/store.db")
    await store.put_rollout(rollout, blob)          # returns once committed; kill -9 loses nothing after that
    async for rollout, blob in store.iter_rollouts(run_id): ...
    await store.close()

Writes go through one thread (`writer.py`), reads through a small pool of threads: SQLite is a library that blocks, and
a driver that hides its threads would cost each read another hop.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Connection, bindparam, func, select
from sqlalchemy.exc import SQLAlchemyError

from gym_core.contracts import CONTRACT_VERSION, Outcome, Rollout, TaskProfile
from gym_core.errors import BadRequest, Conflict, Unavailable
from gym_core.store import runs
from gym_core.store.blobs import BlobReader, BlobRef, BlobWriter
from gym_core.store.engine import Engines, Synchronous, open_engines
from gym_core.store.fault import StoreFault, fault_of
from gym_core.store.models import RolloutRow
from gym_core.store.records import Run
from gym_core.store.writer import Change, Put, Writer

T = TypeVar("T")

_PAGE = 64
_STORED = (
    RolloutRow.seq,
    RolloutRow.record,
    RolloutRow.blob_file,
    RolloutRow.blob_offset,
    RolloutRow.blob_length,
    RolloutRow.blob_crc32,
)
_BY_ID = select(*_STORED).where(RolloutRow.rollout_id == bindparam("rollout_id"))
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Rollout)


class Store:
    """One database and the token files beside it. Made by `Store.open`; several processes may hold the same one."""

    def __init__(self, engines: Engines, synchronous: Synchronous = "normal") -> None:
        self._engines = engines
        self.path = engines.path
        self._writer = Writer(engines.write, BlobWriter(engines.blobs, sync=synchronous == "full"), str(engines.path))
        # one reading thread: it alone touches the open blob files, and reads are rare beside writes
        self._reads = ThreadPoolExecutor(1, thread_name_prefix="store-reader")
        self._blobs = BlobReader(engines.blobs)
        self._reading: Connection | None = None
        self._closed = False

    @classmethod
    async def open(cls, path_or_url: str | Path, create: bool = True, *, synchronous: Synchronous = "normal") -> Store:
        """Open or make the store; an older one is upgraded. `synchronous="full"` also survives a power cut.

        Raises `UnknownName` (missing and not to be made), `Conflict` (written by a newer version), `BadRequest` (not a
        store), `StoreFault` (the disk refuses).
        """
        return cls(await asyncio.to_thread(open_engines, path_or_url, create, synchronous), synchronous)

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
        self._reads.shutdown()
        if self._reading is not None:
            self._reading.close()
        self._blobs.close()
        self._engines.dispose()

    # rollouts

    async def put_rollout(self, rollout: Rollout, blob: bytes = b"") -> None:
        """Keep a rollout and its token blob; returns once both are committed. The same id again keeps the first.

        Raises `BadRequest` for what could not be read back (no id, a number that is not finite), `StoreFault` when the
        disk refuses: nothing of this rollout is kept then, and the store goes on.
        """
        _check(rollout)
        row = {
            "rollout_id": rollout.rollout_id,
            "run_id": rollout.run_id,
            "environment": rollout.environment,
            "task_id": rollout.task_id,
            "group_id": rollout.group_id,
            "step": rollout.step,
            "outcome": rollout.outcome.value,
            "reward": rollout.reward,
            "created_at": rollout.created_at or time.time(),
            "record": _encoder.encode(rollout).decode(),
        }
        await self._writer.submit(Put(row, bytes(blob)))

    async def get_rollout(self, rollout_id: str) -> tuple[Rollout, bytes] | None:
        """The rollout and its blob, None when there is none. Raises `StoreFault` when the bytes have been damaged."""

        def read(connection: Connection) -> tuple[Rollout, bytes] | None:
            row = connection.execute(_BY_ID, {"rollout_id": rollout_id}).one_or_none()
            return None if row is None else self._open(row, blobs=True)

        return await self._read(read)

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

        None leaves a filter out; `blobs=False` leaves the token files alone and gives b"".
        """
        wanted = _filters(run_id, environment, group_id, step, outcome)
        last = 0

        def read(connection: Connection) -> list[tuple[int, tuple[Rollout, bytes]]]:
            page = select(*_STORED).where(*wanted, RolloutRow.seq > last).order_by(RolloutRow.seq).limit(_PAGE)
            return [(row.seq, self._open(row, blobs)) for row in connection.execute(page)]

        while found := await self._read(read):
            for _, item in found:
                yield item
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
        return await self._read(lambda connection: connection.execute(query).scalar_one())

    # runs, metrics, profiles

    async def create_run(self, run: Run) -> None:
        """Keep a new run. Raises `Conflict` when its id is taken."""
        await self._change(lambda connection: runs.create(connection, run))

    async def finish_run(self, run_id: str, status: str = "done", summary: Mapping[str, Any] | None = None) -> None:
        """Say how a run ended; None keeps the summary. Raises `UnknownName`."""
        await self._change(lambda connection: runs.finish(connection, run_id, status, summary))

    async def run(self, run_id: str) -> Run | None:
        return await self._read(lambda connection: runs.get(connection, run_id))

    async def runs(self) -> list[Run]:
        """All runs, oldest first."""
        return await self._read(runs.all_runs)

    async def put_metrics(self, run_id: str, step: int, values: Mapping[str, Any]) -> None:
        """Keep numbers of a step; given again, new keys join and old ones are replaced."""
        await self._change(lambda connection: runs.put_metrics(connection, run_id, step, values))

    async def metrics(self, run_id: str) -> list[tuple[int, dict[str, Any]]]:
        """(step, values) of a run in order of step. A value that was not finite is None."""
        return await self._read(lambda connection: runs.metrics(connection, run_id))

    async def put_profiles(self, profiles: Iterable[TaskProfile]) -> None:
        """Keep how often tasks are solved; the same task and checkpoint again replaces."""
        kept = list(profiles)
        await self._change(lambda connection: runs.put_profiles(connection, kept))

    async def profiles(self, environment: str | None = None, checkpoint: str | None = None) -> list[TaskProfile]:
        return await self._read(lambda connection: runs.profiles(connection, environment, checkpoint))

    async def read(self, query: Callable[[Connection], T]) -> T:
        """What `query` finds on the reading connection, in the reading thread. For selections of a caller's own."""
        return await self._read(query)

    # inside

    async def _change(self, apply: Callable[[Connection], T]) -> T:
        return await self._writer.submit(Change(apply))

    async def _read(self, query: Callable[[Connection], T]) -> T:
        if self._closed:
            raise Unavailable(f"the store {self.path} is closed", stage="store")
        return await asyncio.get_running_loop().run_in_executor(self._reads, self._read_here, query)

    def _read_here(self, query: Callable[[Connection], T]) -> T:
        try:
            if self._reading is None:
                self._reading = self._engines.read.connect()
            return query(self._reading)
        except SQLAlchemyError as error:
            if self._reading is not None:
                self._reading.close()
                self._reading = None
            raise fault_of(error, str(self.path)) from None

    def _open(self, row: Any, blobs: bool) -> tuple[Rollout, bytes]:
        try:
            rollout = _decoder.decode(row.record)
        except msgspec.MsgspecError as error:
            raise StoreFault(f"{self.path}: row {row.seq} cannot be read: {error}", stage="store") from None
        if rollout.contract_version > CONTRACT_VERSION:
            raise Conflict(
                f"rollout {rollout.rollout_id} was written by a newer version (contract {rollout.contract_version}, "
                f"this version reads up to {CONTRACT_VERSION})",
                hint="update Palaestra",
            )
        ref = BlobRef(row.blob_file, row.blob_offset, row.blob_length, row.blob_crc32)
        return rollout, self._blobs.read(ref) if blobs else b""


def _check(rollout: Rollout) -> None:
    """JSON has no NaN: what is not finite would come back as null and could not be read."""
    if not rollout.rollout_id:
        raise BadRequest("a rollout needs an id to be stored", field="rollout_id")
    groups: list[tuple[str, Mapping[str, float]]] = [("timings_ms", rollout.timings_ms)]
    if rollout.verdict is not None:
        verdict = rollout.verdict
        groups += [("verdict", {"reward": verdict.reward}), ("verdict.components", verdict.components)]
        groups += [("verdict.gradings", verdict.gradings)]
    for path, values in groups:
        for name, value in values.items():
            if not math.isfinite(value):
                raise BadRequest(f"a stored number must be finite, not {value}", field=f"{path}.{name}")


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
