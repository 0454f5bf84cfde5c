"""What a step that was begun before had already played: a resumed run takes it, and plays only the rest.

A step in the journal was trained on: exactly its rollouts are taken again, failures included. A step that was begun
but not committed is open: finished rollouts of the right policy version are taken, failed ones are played again under
a new id (`…~1`), since an id names one rollout for ever. So a resumed run does not depend on the sampler giving the
same tokens twice, loses no finished rollout and stores none twice.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from aiohttp import hdrs

from gym_core.client import Client
from gym_core.contracts import RUN_KEY
from gym_core.errors import UnknownName
from gym_core.tokens import FRAME_TYPE
from trainer.played import Played, open_frame

CONCURRENCY = 32


@dataclass(slots=True, frozen=True)
class Recall:
    """`version`: the policy version of the step. `committed`: the ids the journal has of it; none when it is open.

    `lag`: how many versions older its tokens may be.
    """

    version: int
    committed: frozenset[str] = frozenset()
    lag: int = 0

    def fits(self, played: Played) -> bool:
        rollout = played.rollout
        oldest, newest = rollout.policy_version_min, rollout.policy_version_max
        return rollout.outcome.trainable and self.version - self.lag <= oldest and newest <= self.version


async def recall(
    client: Client, rows: Sequence[Mapping[str, Any]], wanted: Recall
) -> tuple[list[Played], list[dict[str, Any]]]:
    """Rollouts found in the agent server's store, and the rows that are still to be played."""
    gate = asyncio.Semaphore(CONCURRENCY)
    by_base = {name.partition("~")[0]: name for name in wanted.committed}

    async def one(row: Mapping[str, Any]) -> tuple[Played | None, dict[str, Any] | None]:
        base = row[RUN_KEY]["rollout_id"]
        async with gate:
            if not by_base:
                return await _search(client, row, wanted)
            if base not in by_base:
                return None, None  # lost when the step was played: the step was trained without it
            found = await _stored(client, by_base[base])
            return found, None if found else _renamed(row, by_base[base])

    results = await asyncio.gather(*(one(row) for row in rows))
    return [found for found, _ in results if found], [row for _, row in results if row]


async def _search(
    client: Client, row: Mapping[str, Any], wanted: Recall
) -> tuple[Played | None, dict[str, Any] | None]:
    base = row[RUN_KEY]["rollout_id"]
    for attempt in itertools.count():
        name = f"{base}~{attempt}" if attempt else base
        found = await _stored(client, name)
        if found is None:
            return None, _renamed(row, name)
        if wanted.fits(found):
            return found, None
    raise AssertionError("the count does not end")


async def _stored(client: Client, name: str) -> Played | None:
    try:
        reply = await client.get(f"/rollouts/{quote(name, safe='/~')}", headers={hdrs.ACCEPT: FRAME_TYPE})
    except UnknownName:
        return None
    head, blob = reply.frame()
    return open_frame(head, bytes(blob), recalled=True)


def _renamed(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {**row, RUN_KEY: {**row[RUN_KEY], "rollout_id": name}}
