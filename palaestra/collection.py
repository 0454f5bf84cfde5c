"""Collecting rollouts into a file: rows in, scored rollouts out, resumable at any line, failures counted apart.

The output is JSON lines in the shape of `POST /run`. A rollout is named by its row's content and its repeat, so a
second call with the same output skips what is there and plays only what is missing or failed. With a store of its own
(`recollect.py`) it also skips what was finished but not yet written when it broke off.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from gym_core.client import Client
from gym_core.contracts import RUN_KEY, Outcome, Rollout, Sampling, Task
from gym_core.errors import BadRequest, BadRow, PalaestraError
from gym_core.seeds import derive
from palaestra.house import connect, start_agent, start_environments
from palaestra.recollect import base_of

if TYPE_CHECKING:
    from policy_server.config import PolicyConfig

Row = dict[str, Any]
INGEST_ROWS = 2000
"""Rows looked at in one request; the service takes a bounded number."""


@dataclass(slots=True)
class Tally:
    """What came of a collection: rewards by task, and every outcome counted."""

    rewards: dict[str, list[float]] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)

    def add(self, task_id: str, outcome: str, reward: float | None) -> None:
        self.outcomes[outcome] += 1
        if reward is not None and Outcome(outcome).trainable:
            self.rewards.setdefault(task_id, []).append(reward)

    def summary(self, repeats: int, full: float) -> dict[str, Any]:
        """Mean reward, and pass@k over tasks with at least k scored repeats; a reward of `full` is a pass."""
        tasks = list(self.rewards.values())
        means = [math.fsum(rewards) / len(rewards) for rewards in tasks]
        passes = {}
        for k in range(1, repeats + 1):
            known = [pass_at_k(len(r), sum(x >= full for x in r), k) for r in tasks if len(r) >= k]
            if known:
                passes[f"pass@{k}"] = math.fsum(known) / len(known)
        return {
            "tasks": len(tasks),
            "mean_reward": math.fsum(means) / len(means) if means else None,
            **passes,
            "outcomes": dict(sorted(self.outcomes.items())),
        }


def pass_at_k(n: int, c: int, k: int) -> float:
    """Unbiased chance that one of k draws passes, c of n having passed (arXiv 2107.03374, eq. 1)."""
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def read_rows(path: Path) -> dict[int, Row]:
    """Rows of a JSONL file by their line. Raises `BadRow` naming file, line and field."""
    rows = {}
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = msgspec.json.decode(line)
                Task.from_row(row)
            except msgspec.DecodeError as error:
                raise BadRow(f"{path.name}, line {number}: not JSON: {error}", field=f"line {number}") from None
            except PalaestraError as error:
                raise BadRow(
                    f"{path.name}, line {number}: {error.message}", field=error.field, hint=error.hint
                ) from None
            rows[number] = row
    if not rows:
        raise BadRow(f"{path.name} holds no rows", field="input")
    return rows


def read_done(path: Path) -> dict[str, Row]:
    """Finished rollouts of an output file by id; failed ones are left out, a torn last line is cut off.

    Raises `BadRequest` for a file that is something else, which is left as it is.
    """
    if not path.is_file():
        return {}
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    done = {}
    for number, line in enumerate(data[:whole].split(b"\n")[:-1], 1):
        try:
            row = msgspec.json.decode(line, type=dict[str, Any])
            reward, group = row["reward"], row["group_id"]
            if Outcome(row["outcome"]).trainable and isinstance(reward, int | float) and isinstance(group, str):
                done[str(row["rollout_id"])] = row
        except (ValueError, KeyError) as error:
            raise _no_output(path, f"line {number}: {error}") from None
    if whole < len(data):
        if not data[whole:].startswith(b"{"):
            raise _no_output(path, "its last line is no JSON object")
        os.truncate(path, whole)
    return done


def _no_output(path: Path, why: str) -> BadRequest:
    return BadRequest(
        f"{path} exists and does not hold rollouts ({why})",
        field="output",
        hint="name another file, or begin this one anew with --fresh",
    )


def check_output(path: Path) -> None:
    """Raises `BadRequest` where rollouts could not be written, before any is played."""
    if not path.parent.is_dir():
        raise BadRequest(f"there is no folder {path.parent}", field="output", hint="make it first")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise BadRequest(f"{path} cannot be written", field="output")


class Collection:
    """Services for one environment and one policy, as processes; use as an async context."""

    def __init__(
        self, environment: str, policy: PolicyConfig, folder: Path, paths: Sequence[Path] = (), store: str = ""
    ) -> None:
        self._environment, self._policy, self._folder, self._paths = environment, policy, folder, paths
        self._store = store or str(folder / "store.db")
        self._stack = AsyncExitStack()
        self._agent: Client
        self._gym: Client

    async def __aenter__(self) -> Collection:
        from gym_core.serve import start
        from palaestra.policies import served_app

        enter = self._stack.enter_async_context
        logs = self._folder / "logs"
        try:
            gym = await start_environments([self._environment], logs, self._stack, self._paths)
            policy = await enter(await start(served_app(self._policy)))
            base = f"{gym.url}/{self._environment}"
            agent = await start_agent({self._environment: base}, policy.url, self._store, logs, self._stack)
            self._gym = await enter(connect(base, timeout_s=120))
            self._agent = await enter(connect(agent.url, retries=0))
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def manifest(self) -> dict[str, Any]:
        return await self._gym.get_json("/manifest")

    async def check(self, rows: dict[int, Row], name: str) -> None:
        """Let the environment look at every row. Raises `BadRow` with the line of the first one it refuses."""
        lines = list(rows)
        refused: list[tuple[int, dict[str, Any]]] = []
        for start in range(0, len(lines), INGEST_ROWS):
            part = lines[start : start + INGEST_ROWS]
            asked = {"rows": [{**rows[line], "environment": self._environment} for line in part]}
            reply: Any = await self._gym.post_json("/ingest", asked, idempotent=True)
            refused += [(part[found["row"]], found["error"]) for found in reply["refused"]]
        if refused:
            line, error = refused[0]
            count = f"{len(refused)} of {len(rows)} rows are refused"
            raise BadRow(
                f"{name}, line {line}: {error['message']} ({count})",
                field=error.get("field", ""),
                hint=error.get("hint", ""),
            )

    async def tasks(self, seed: int, level: int, count: int, split: str) -> list[Row]:
        body = {"seed": seed, "level": level, "count": count, "split": split}
        return (await self._gym.post_json("/tasks", body, idempotent=True))["tasks"]

    async def play(self, requests: Iterable[Row], batch: int, timeout_s: float) -> AsyncGenerator[Rollout, None]:
        """Rollouts as they finish, `batch` requests in flight at a time."""
        waiting = list(requests)
        for start in range(0, len(waiting), batch):
            chunk = {"rows": waiting[start : start + batch]}
            async for head, _ in self._agent.stream("/rollouts", chunk, timeout_s=timeout_s):
                yield msgspec.json.decode(head, type=Rollout)


def requests_for(
    rows: Sequence[Row],
    *,
    environment: str,
    run_id: str,
    repeats: int,
    seed: int,
    sampling: Sampling,
    deadline_s: float,
) -> dict[str, Row]:
    """One request per row and repeat, by rollout id."""
    made = {}
    for number, row in enumerate(rows):
        task = Task.from_row(row, environment)
        group_id = f"{run_id}/{number}-{task.task_id}"
        for repeat in range(repeats):
            options = {
                "rollout_id": f"{group_id}/{repeat}",
                "run_id": run_id,
                "group_id": group_id,
                "group_size": repeats,
                "repeat": repeat,
                "seed": derive(seed, task.task_id, repeat),
                "deadline_s": deadline_s,
                "sampling": msgspec.to_builtins(sampling),
            }
            made[options["rollout_id"]] = {**row, "environment": environment, RUN_KEY: options}
    return made


def output_row(request: Row, rollout: Rollout, number: int) -> Row:
    """A line of the output: the row echoed, and what came of it."""
    row = {key: value for key, value in request.items() if key != RUN_KEY}
    told = msgspec.to_builtins(rollout)
    output = told.pop("output")
    return {
        **row,
        **told,
        "reward": rollout.reward,
        "response": {"object": "response", "output": output, "usage": told["usage"]},
        "_ng_task_index": number,
        "_ng_rollout_index": rollout.repeat,
    }


async def collect(
    collection: Collection,
    requests: dict[str, Row],
    output: Path,
    *,
    batch: int,
    timeout_s: float,
    on_rollout: Callable[[Rollout], None],
    recalled: Mapping[str, tuple[Row, Rollout]] | None = None,
) -> None:
    """Append a line for each rollout that `output` does not hold yet: first those `recalled` from the store (request
    and rollout by the id first asked by), then those of `requests` as they are played."""
    done = {base_of(name) for name in read_done(output)}
    missing = {name: row for name, row in requests.items() if base_of(name) not in done}
    async with AsyncExitStack() as stack:
        played = await stack.enter_async_context(aclosing(collection.play(missing.values(), batch, timeout_s)))
        file: BinaryIO | None = None

        def write(row: Row, rollout: Rollout) -> None:
            nonlocal file
            file = file or stack.enter_context(output.open("ab"))  # no file where nothing was played
            number = int(rollout.rollout_id.rsplit("/", 2)[1].split("-", 1)[0])
            file.write(msgspec.json.encode(output_row(row, rollout, number)) + b"\n")
            file.flush()
            on_rollout(rollout)

        for base, (row, rollout) in (recalled or {}).items():
            if base not in done:
                write(row, rollout)
        async for rollout in played:
            write(missing[rollout.rollout_id], rollout)
