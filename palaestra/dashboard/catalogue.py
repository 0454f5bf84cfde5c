"""The runs of all stores, and one run as the page shows it; both kept for a moment, so that many watchers cost one."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from sqlalchemy import Connection, func, select

from gym_core import auth
from gym_core.errors import PalaestraError, UnknownName
from gym_core.store import Run, Store
from gym_core.store.models import RolloutRow
from palaestra.dashboard.library import Library, Shelf, Signature
from palaestra.dashboard.selection import run_ids
from palaestra.dashboard.tally import Tally, thinned

FRESH_S = 0.8
"""How old a snapshot may be that is told again."""

LIVE_S = 120.0
"""A run that says it is running but was not heard of for this long is shown as silent."""

MAX_COUNTED = 1_000_000
MAX_TALLIES = 64
SERVICES = "services.json"
"""Beside a run's store: names and addresses of the services that it runs with."""

_CHARTS = (
    ("val/reward", "held-out reward", ""),
    ("completions/mean_length", "tokens per rollout", "tokens"),
    ("total_step_time", "time per step", "s"),
    ("entropy", "entropy of the policy", "nats"),
    ("frac_reward_zero_std", "groups with equal rewards", "share"),
    ("grad_norm", "gradient norm", ""),
    ("loss", "loss", ""),
    ("moe/max_vio", "expert imbalance", ""),
    ("sft/loss", "warm start: loss", "nats"),
)


class RunHead(msgspec.Struct, kw_only=True):
    """A run in the list. `status` is the stored one, "silent" where a running run was not heard of for long, or
    "unrecorded" where rollouts name a run that nobody keeps a record of."""

    store: str
    run_id: str
    kind: str = ""
    arm: str = ""
    seed: int | None = None
    status: str = "unrecorded"
    created_at: float = 0.0
    finished_at: float | None = None
    heard_at: float = 0.0
    rollouts: int = 0
    reward_before: float | None = None
    reward_after: float | None = None


class Catalogue:
    """What the page asks of a library."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self._tallies: dict[tuple[str, str], Tally] = {}
        self._runs: dict[str, tuple[Any, list[RunHead]]] = {}
        self._fresh: dict[str, _Kept] = {}

    async def runs(self) -> dict[str, Any]:
        """{"runs": newest first, "stores": count, "troubles": what kept a store from being read}."""
        return await self._kept("runs", self._list)

    async def run(self, store: str, run_id: str) -> dict[str, Any]:
        """One run with its curves and counts. Raises `UnknownName` when it is not there (any more)."""
        return await self._kept(f"run\n{store}\n{run_id}", lambda: self._show(store, run_id))

    async def _kept(self, key: str, make: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        if len(self._fresh) > 2 * MAX_TALLIES:
            self._fresh = {name: kept for name, kept in self._fresh.items() if kept.lock.locked()}
        kept = self._fresh.setdefault(key, _Kept())
        async with kept.lock:
            if time.monotonic() - kept.at > FRESH_S:
                kept.value, kept.at = await make(), time.monotonic()
            return kept.value

    async def _list(self) -> dict[str, Any]:
        shelves = self.library.shelves()
        found: list[RunHead] = []
        troubles = []
        for shelf in shelves.values():
            try:
                found += await self._runs_of(shelf)
            except PalaestraError as error:
                troubles.append({"store": shelf.key, "error": error.info()})
        self._runs = {key: value for key, value in self._runs.items() if key in shelves}
        found.sort(key=lambda run: (run.heard_at, run.run_id), reverse=True)
        return {"runs": found, "stores": len(shelves), "troubles": troubles}

    async def _runs_of(self, shelf: Shelf) -> list[RunHead]:
        signature = shelf.signature()
        kept = self._runs.get(shelf.key)
        if kept is None or signature is None or kept[0] != signature:
            async with self.library.reading(shelf.key) as store:
                heads = [_head(shelf.key, run) for run in await store.runs()]
                heads += await self._unrecorded(shelf.key, store, {head.run_id for head in heads})
                for head in heads:
                    await _count(store, head)
            kept = self._runs[shelf.key] = (signature, heads)
        for head in kept[1]:
            _hear(head, signature)
        return kept[1]

    @staticmethod
    async def _unrecorded(key: str, store: Store, recorded: set[str]) -> list[RunHead]:
        named = await store.read(run_ids)
        return [RunHead(store=key, run_id=run_id) for run_id in named if run_id not in recorded]

    async def _show(self, key: str, run_id: str) -> dict[str, Any]:
        async with self.library.reading(key) as store:
            run = await store.run(run_id)
            head = RunHead(store=key, run_id=run_id) if run is None else _head(key, run)
            await _count(store, head)
            if run is None and not head.rollouts:
                self._tallies.pop((key, run_id), None)
                raise UnknownName(
                    f"there is no run {run_id!r} in the store {key!r}", field="run", hint="it may have been deleted"
                )
            tally = self._tally(key, run_id)
            await tally.catch_up(store)
        _hear(head, self.library.shelf(key).signature())
        return {"run": head, **_curves(tally), "services": self.services(key)}

    def _tally(self, key: str, run_id: str) -> Tally:
        if len(self._tallies) >= MAX_TALLIES and (key, run_id) not in self._tallies:
            del self._tallies[next(iter(self._tallies))]
        return self._tallies.setdefault((key, run_id), Tally(run_id))

    def services(self, key: str) -> dict[str, str]:
        """Addresses of the services that a run wrote beside its store.

        Only those on this machine: a run's folder may be a stranger's, and our token goes where we ask.
        """
        folder = self.library.shelf(key).folder
        try:
            named = msgspec.json.decode((folder / SERVICES).read_bytes(), type=dict[str, str]) if folder else {}
            return {name: url for name, url in named.items() if _is_here(url)}
        except (OSError, ValueError):  # not there, or not what we write
            return {}

    def folder(self, key: str) -> Path | None:
        return self.library.shelf(key).folder


@dataclass(slots=True)
class _Kept:
    value: dict[str, Any] = field(default_factory=dict)
    at: float = -math.inf
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


def _head(store: str, run: Run) -> RunHead:
    return RunHead(
        store=store,
        run_id=run.run_id,
        kind=run.kind,
        arm=run.arm,
        seed=run.seed,
        status=run.status,
        created_at=run.created_at,
        finished_at=run.finished_at,
        reward_before=_number(run.summary.get("reward_before")),
        reward_after=_number(run.summary.get("reward_after")),
    )


def _is_here(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "http" and auth.is_loopback(parts.hostname)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


async def _count(store: Store, head: RunHead) -> None:
    def ask(connection: Connection) -> tuple[int, float]:
        mine = RolloutRow.run_id == head.run_id
        some = select(RolloutRow.seq).where(mine).limit(MAX_COUNTED).subquery()
        count = connection.execute(select(func.count()).select_from(some)).scalar_one()
        last = select(RolloutRow.created_at).where(mine).order_by(RolloutRow.seq.desc()).limit(1)
        return count, connection.execute(last).scalar() or 0.0

    head.rollouts, newest = await store.read(ask)
    head.heard_at = max(newest, head.created_at, head.finished_at or 0.0)


def _hear(head: RunHead, signature: Signature | None) -> None:
    """Whether a run that says it is running is heard of: by a rollout, or by anything written to its store."""
    if head.status in ("running", "silent"):
        if signature is not None:
            head.heard_at = max(head.heard_at, max(signature.written) / 1e9)
        head.status = "silent" if time.time() - head.heard_at > LIVE_S else "running"


def _curves(tally: Tally) -> dict[str, Any]:
    source, rewards = tally.reward_curves()
    charts = [
        {"name": name, "title": title, "unit": unit, "points": thinned(points)}
        for name, title, unit in _CHARTS
        if (points := tally.series(name))
    ]
    trained = [step for step in tally.metrics if step >= 0]
    return {
        "complete": tally.complete,
        "counted": tally.count,
        "outcomes": {name: dict(sorted(counts.items())) for name, counts in sorted(tally.outcomes.items())},
        "rewards": {name: thinned([p for p in points if p[0] >= 0]) for name, points in rewards.items()},
        "rewards_from": source,
        "charts": charts,
        "speed": thinned(_tokens_per_second(tally)),
        "mismatch": thinned([(step, value - 1.0) for step, value in tally.series("token_mult_prob_error")]),
        "last": {"step": max(trained), **tally.metrics[max(trained)]} if trained else None,
    }


def _tokens_per_second(tally: Tally) -> list[tuple[int, float]]:
    seconds = dict(tally.series("total_step_time"))
    return [(step, tokens / seconds[step]) for step, tokens in tally.series("sampled_tokens") if seconds.get(step)]
