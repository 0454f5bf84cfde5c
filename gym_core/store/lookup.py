"""Rollouts by their ids: what is asked for in the same turn of an event loop is read by one query.

get("r1"), get("r2"), … ─▶ end of the turn ─▶ one query in the reading thread ─▶ each its row, or its own error
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sqlalchemy import Connection, bindparam

from gym_core.errors import PalaestraError
from gym_core.store.models import RolloutRow
from gym_core.store.reading import WITH_ROW, Reading
from gym_core.store.records import Stored

MOST = 256
"""Ids in one query."""

_BY_ID = WITH_ROW.add_columns(RolloutRow.rollout_id).where(RolloutRow.rollout_id.in_(bindparam("ids", expanding=True)))
_Found = Stored | PalaestraError | None


class Lookup:
    """`get` from any event loop."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._turns: dict[tuple[asyncio.AbstractEventLoop, bool], dict[str, asyncio.Future[_Found]]] = {}
        self._reads: set[asyncio.Task[None]] = set()

    async def get(self, rollout_id: str, blobs: bool) -> Stored | None:
        """What is stored under this id. Raises `StoreFault` when its bytes have been damaged."""
        loop = asyncio.get_running_loop()
        turn = self._turns.get((loop, blobs))
        if turn is None:
            turn = self._turns[loop, blobs] = {}
            loop.call_soon(self._begin, loop, blobs)
        if rollout_id not in turn:
            turn[rollout_id] = loop.create_future()
        found = await asyncio.shield(turn[rollout_id])  # somebody else may wait for the same one
        if isinstance(found, PalaestraError):
            raise found
        return found

    def _begin(self, loop: asyncio.AbstractEventLoop, blobs: bool) -> None:
        asked = list(self._turns.pop((loop, blobs)).items())
        for begin in range(0, len(asked), MOST):
            task = loop.create_task(self._read(dict(asked[begin : begin + MOST]), blobs))
            self._reads.add(task)
            task.add_done_callback(self._reads.discard)

    async def _read(self, asked: dict[str, asyncio.Future[_Found]], blobs: bool) -> None:
        """A query that fails in whatever way says nothing of any id: least of all that nothing is stored under it."""
        try:
            found = await self._reading.ask(lambda connection: self._query(connection, list(asked), blobs))
        except Exception as error:
            for future in asked.values():
                future.set_exception(error)
        except asyncio.CancelledError:
            for future in asked.values():
                future.cancel()
            raise
        else:
            for rollout_id, future in asked.items():
                future.set_result(found.get(rollout_id))

    def _query(self, connection: Connection, ids: Sequence[str], blobs: bool) -> dict[str, _Found]:
        rows = connection.execute(_BY_ID, {"ids": ids}).all()
        return {row.rollout_id: self._open(connection, row, blobs) for row in rows}

    def _open(self, connection: Connection, row: object, blobs: bool) -> _Found:
        try:
            return self._reading.open(connection, row, blobs)
        except PalaestraError as error:  # damage to one is no reason to keep the others back
            return error
