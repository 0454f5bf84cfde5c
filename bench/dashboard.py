"""What the dashboard's questions cost over one long run: a store of 100,000 rollouts of about 2 KB, made here.

`count` is what the first look at a run costs, `newer` every look after it; `search` finds one rollout, the oldest, and
so reads all of them. Each line is the best of five.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from gym_core.contracts import Outcome, Rollout, Verdict
from gym_core.store import Run, Store
from palaestra.dashboard.selection import Wanted, page
from palaestra.dashboard.tally import Tally

RUN = "bench"
FILLER = "lorem ipsum dolor " * 80


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print a JSON list of rows")
    parser.add_argument("--rollouts", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = asyncio.run(measure(Path(folder) / "store.db", options.rollouts))
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        print(f"{row['question']:>24} {row['ms']:>10.1f} ms")


async def measure(path: Path, count: int) -> list[dict[str, Any]]:
    await _fill(path, count)
    async with await Store.open(path) as store:
        counted = Tally(RUN)
        await counted.catch_up(store, budget_s=600.0)
        questions: dict[str, Callable[[], Awaitable[Any]]] = {
            "count": lambda: Tally(RUN).catch_up(store, budget_s=600.0),
            "newer": lambda: counted.catch_up(store),
            "newest page": lambda: page(store, Wanted(run_id=RUN)),
            "page in the middle": lambda: page(store, Wanted(run_id=RUN, before=count // 2)),
            "one early step": lambda: page(store, Wanted(run_id=RUN, step=1), budget_s=600.0),
            "search": lambda: page(store, Wanted(run_id=RUN, text="answer 7 "), budget_s=600.0),
        }
        return [{"question": name, "ms": await _best(ask)} for name, ask in questions.items()]


async def _best(ask: Callable[[], Awaitable[Any]]) -> float:
    taken = []
    for _ in range(5):
        began = time.perf_counter()
        await ask()
        taken.append(1000 * (time.perf_counter() - began))
    return round(min(taken), 2)


async def _fill(path: Path, count: int) -> None:
    """One rollout through the store, the others as copies of its row: what is measured is reading."""
    async with await Store.open(path) as store:
        await store.create_run(Run(run_id=RUN))
        await store.put_rollout(_rollout(0))
    with sqlite3.connect(path) as connection:
        cursor = connection.execute("SELECT * FROM rollouts")
        names = [column[0] for column in cursor.description if column[0] != "seq"]
        first = dict(zip([column[0] for column in cursor.description], cursor.fetchone(), strict=True))
        marks = ", ".join("?" for _ in names)
        connection.executemany(
            f"INSERT INTO rollouts ({', '.join(names)}) VALUES ({marks})", _rows(first, names, count)
        )
    connection.close()


def _rows(first: dict[str, Any], names: list[str], count: int) -> Iterator[list[Any]]:
    for number in range(1, count):
        made = _rollout(number)
        changed = {"rollout_id": made.rollout_id, "environment": made.environment, "step": made.step}
        row = {**first, **changed, "reward": made.reward, "record": msgspec.json.encode(made).decode()}
        yield [row[name] for name in names]


def _rollout(number: int) -> Rollout:
    said = {"type": "message", "role": "assistant", "content": f"answer {number} {FILLER}"}
    return Rollout(
        rollout_id=f"{RUN}/{number}",
        run_id=RUN,
        environment=("math", "ledger")[number % 2],
        task_id=f"task-{number // 8}",
        outcome=Outcome.SCORED,
        verdict=Verdict(reward=number % 3 / 2),
        step=number // 160,
        output=[said],
        created_at=1_700_000_000.0 + number,
    )


if __name__ == "__main__":
    main()
