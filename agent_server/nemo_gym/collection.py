"""Rollouts of a file of rows, in the files that `gym eval run` of NeMo Gym leaves.

    rows.jsonl ─▶ OUT_materialized_inputs.jsonl   every row with its indices, repeats side by side
               ─▶ OUT.jsonl                       finished rollouts, one a line, as they finish
               ─▶ OUT_failures.jsonl              those without a reward, and why
               ─▶ OUT_aggregate_metrics.json      one entry per agent

A rollout counts once its line is whole on the disk: `resume` drops a torn last line and plays what is missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from agent_server.directory import row_environment
from gym_core.aggregate import REPEAT, TASK, aggregate
from gym_core.client import Client
from gym_core.errors import BadRow, PalaestraError

Row = dict[str, Any]
Key = tuple[int, int]

FAILURE = "_ng_failure_class"
ROLLOUT_S = 7200.0
_HEAVY = frozenset({"response", "responses_create_params"})


@dataclass(slots=True)
class Counts:
    """What one collection left behind."""

    scored: int = 0
    failed: int = 0


class Collection:
    """The four files of one run."""

    def __init__(self, output: Path, *, repeats: int = 1, limit: int | None = None) -> None:
        self.output = output
        self.materialized = output.with_name(f"{output.stem}_materialized_inputs.jsonl")
        self.failures = output.with_name(f"{output.stem}_failures.jsonl")
        self.metrics = output.with_name(f"{output.stem}_aggregate_metrics.json")
        self._repeats = repeats
        self._limit = limit

    async def run(
        self, rows: Path, head_url: str, *, token: str | None = None, concurrency: int = 64, resume: bool = False
    ) -> Counts:
        """Play the rows at the head. A rollout that fails is a line among the failures and ends nothing.

        Raises `BadRow` with the line for a file that is no rows, and what the client raises where nobody answers first.
        """
        wanted = materialize(read_rows(rows), self._repeats, self._limit)
        self.output.parent.mkdir(parents=True, exist_ok=True)
        finished = self._kept() if resume else {}
        self.materialized.write_bytes(_lines(wanted))
        self.output.write_bytes(_lines(finished.values()))
        self.failures.write_bytes(b"")
        left = [row for row in wanted if _key(row) not in finished]
        async with Client(head_url, token=token, connection_limit=concurrency) as client:
            await client.get("/")
            with self.output.open("ab") as done, self.failures.open("ab") as failed:
                results = await self._play_all(client, left, concurrency, done, failed)
        results = sorted([*finished.values(), *results], key=_key)
        self.metrics.write_bytes(msgspec.json.format(msgspec.json.encode(by_agent(results)), indent=2))
        return Counts(len(results), len(wanted) - len(results))

    async def _play_all(
        self, client: Client, rows: list[Row], concurrency: int, done: BinaryIO, failed: BinaryIO
    ) -> list[Row]:
        left = iter(rows)
        results: list[Row] = []

        async def play() -> None:
            for row in left:
                result = await _play(client, row)
                _append(failed if FAILURE in result else done, result)
                if FAILURE not in result:
                    results.append(result)

        await asyncio.gather(*(play() for _ in range(min(concurrency, len(rows)))))
        return results

    def _kept(self) -> dict[Key, Row]:
        """Rollouts of an earlier run, a torn last line left out; none where there was no run."""
        if not self.output.exists():
            return {}
        whole = [line for line in self.output.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
        return {_key(row): row for row in map(msgspec.json.decode, whole)}


def read_rows(path: Path) -> list[Row]:
    """The rows of a JSONL file. Raises `BadRow` naming the line."""
    found = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        try:
            found.append(msgspec.json.decode(line, type=Row))
        except msgspec.MsgspecError as error:
            raise BadRow(f"{path.name}, line {number} is not a row: {error}", field=f"line {number}") from None
    if not found:
        raise BadRow(f"{path.name} holds no rows", field="rows")
    return found


def materialize(rows: Iterable[Row], repeats: int, limit: int | None = None) -> list[Row]:
    """Each row `repeats` times, with the indices and the `agent_ref` that tell its rollouts apart."""
    return [
        {**row, TASK: task, REPEAT: repeat, "agent_ref": row.get("agent_ref") or {"name": row_environment(row)}}
        for task, row in enumerate(list(rows)[:limit])
        for repeat in range(repeats)
    ]


def by_agent(results: Iterable[Row]) -> list[dict[str, Any]]:
    """The entries of `…_aggregate_metrics.json`."""
    agents: dict[str, list[Row]] = {}
    for result in results:
        light = {name: value for name, value in result.items() if name not in _HEAVY}
        light["response"] = {"usage": result.get("response", {}).get("usage")}
        agents.setdefault(result["agent_ref"]["name"], []).append(light)
    return [{"agent_ref": {"name": name}, **aggregate(found)} for name, found in sorted(agents.items())]


async def _play(client: Client, row: Row) -> Row:
    named = {name: row[name] for name in (TASK, REPEAT, "agent_ref")}
    try:
        result: Row = (await client.post("/run", row, timeout_s=ROLLOUT_S)).json(Row)
    except PalaestraError as error:
        return {**named, FAILURE: error.code, "failure_reason": str(error), "error": error.info()}
    if result.get("mask_sample"):
        return {**result, **named, FAILURE: result.get("failure_kind") or "masked"}
    return {**result, **named}


def _append(file: BinaryIO, result: Row) -> None:
    file.write(msgspec.json.encode(result) + b"\n")
    file.flush()


def _lines(rows: Iterable[Row]) -> bytes:
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)


def _key(row: Row) -> Key:
    return row[TASK], row[REPEAT]
