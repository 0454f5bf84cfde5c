"""The one thread of a process that reads the database: a connection of its own, rows opened, blobs checked.

A row that is read may be out of date by the time its blob is: `compact` moved it in between. Then its place is looked
up once more before anything is called missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, bindparam, select
from sqlalchemy.exc import SQLAlchemyError

from gym_core.contracts import CONTRACT_VERSION, Rollout
from gym_core.errors import Conflict, Unavailable
from gym_core.store.blobs import BlobReader, BlobRef
from gym_core.store.engine import Engines
from gym_core.store.fault import StoreFault, fault_of, lost_connection
from gym_core.store.models import RolloutRow, TaskRow
from gym_core.store.records import Stored

T = TypeVar("T")

PLACE = (RolloutRow.blob_file, RolloutRow.blob_offset, RolloutRow.blob_length, RolloutRow.blob_crc32)
STORED = (RolloutRow.seq, RolloutRow.record, *PLACE)
WITH_ROW = select(*STORED, TaskRow.row.label("task")).outerjoin(TaskRow, TaskRow.task_key == RolloutRow.task_key)
WITHOUT_ROW = select(*STORED)
_PLACE_NOW = select(*PLACE).where(RolloutRow.seq == bindparam("seq"))
_decoder = msgspec.json.Decoder(Rollout)


class Reading:
    """Runs queries; `ask` from any event loop, until `close`."""

    def __init__(self, engines: Engines) -> None:
        self._engine = engines.read
        self._name = engines.name
        # one thread: it alone touches the open segments, and reads are rare beside writes
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store-reader")
        self._blobs = BlobReader(engines.blobs)
        self._connection: Connection | None = None
        self._closed = False

    async def ask(self, query: Callable[[Connection], T]) -> T:
        """What `query` returns. Raises `Unavailable` after `close`, `StoreFault` when the database refuses."""
        if self._closed:
            raise Unavailable(f"the store {self._name} is closed", stage="store")
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._ask, query)

    def close(self) -> None:
        """Blocks until what was asked is answered."""
        self._closed = True
        self._thread.shutdown()
        self._drop()
        self._blobs.close()

    def _ask(self, query: Callable[[Connection], T], again: bool = True) -> T:
        try:
            if self._connection is None:
                self._connection = self._engine.connect()
            return query(self._connection)
        except SQLAlchemyError as error:
            self._drop()
            if again and lost_connection(error):  # a server that was started anew; reading twice harms nobody
                return self._ask(query, again=False)
            raise fault_of(error, self._name) from None

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def open(self, connection: Connection, row: Any, blobs: bool) -> Stored | None:
        """A selected row as what it stands for; None where it was pruned meanwhile. In the reading thread only.

        Raises `StoreFault` for damage, `Conflict` for a record of a newer version.
        """
        try:
            rollout = _decoder.decode(row.record)
            task = msgspec.json.decode(row.task) if getattr(row, "task", None) else None
        except msgspec.MsgspecError as error:
            raise StoreFault(f"{self._name}: row {row.seq} cannot be read: {error}", stage="store") from None
        if rollout.contract_version > CONTRACT_VERSION:
            raise Conflict(
                f"rollout {rollout.rollout_id} was written by a newer version (contract {rollout.contract_version}, "
                f"this version reads up to {CONTRACT_VERSION})",
                hint="update Palaestra",
            )
        if not blobs:
            return Stored(rollout, b"", task)
        ref = BlobRef(row.blob_file, row.blob_offset, row.blob_length, row.blob_crc32)
        try:
            return Stored(rollout, self._blobs.read(ref), task)
        except StoreFault:
            now = connection.execute(_PLACE_NOW, {"seq": row.seq}).one_or_none()
            if now is None:
                return None
            if BlobRef(*now) == ref:
                raise
            return Stored(rollout, self._blobs.read(BlobRef(*now)), task)
