"""One real service with all environments, what an attack on it looks like, and how it is played.

Loaded by path: `load_file(Path(__file__).with_name("arena.py"))`.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from gym_core import headers
from gym_core.client import Client
from gym_core.contracts import Task, TaskRef
from gym_core.environment import Call, Script
from gym_core.generate import make_task, make_tasks
from gym_core.host import settle
from gym_core.play import call_items
from gym_core.registry import Registry
from gym_core.reply import text_output

ROOT = Path(__file__).resolve().parents[2]
REGISTRY = Registry.discover()
NAMES = sorted(path.stem for path in (ROOT / "tests/adversarial/attacks").glob("*.py") if path.stem != "common")
"""Environments with attacks of their own; a file `attacks/NAME.py` adds one."""

SIDE_BY_SIDE = 6
VERDICT_S = 60.0
Row = dict[str, Any]
Items = list[dict[str, Any]]


@dataclass(slots=True, frozen=True, kw_only=True)
class Attack:
    """A reply (or what is done with tools) to a row, and what it may earn.

    `refused`: the row itself must be turned away, naming this field. `bomb`: no verdict at all is as good as a zero,
    as long as it comes as a typed error within the time. `worth`: the honest value where that is more than what no
    answer earns. `slow`: it waits for a limit of seconds.
    """

    name: str
    row: Row
    output: str | Items = ""
    calls: tuple[Call, ...] = ()
    worth: float | None = None
    refused: str = ""
    bomb: bool = False
    slow: bool = False


@dataclass(slots=True, frozen=True)
class Result:
    """What came of an attack: a reward, or an error's status, code and field."""

    reward: float | None
    status: int = 200
    code: str = ""
    field: str = ""
    seconds: float = 0.0

    def wrong(self, attack: Attack, floor: float = 0.0) -> str:
        """Why this is not what it should be, "" where it is; `floor` is what no answer at all may earn."""
        if attack.refused:
            right = self.status == 422 and self.field.startswith(attack.refused)
            return "" if right else f"not refused at {attack.refused!r}: {self}"
        if self.reward is None:
            held = attack.bomb and self.code in ("deadline_exceeded", "environment_fault")
            return "" if held else f"no verdict: {self}"
        if attack.worth is None:
            return "" if self.reward <= floor else f"earned {self.reward}, is worth {floor} at most"
        return "" if self.reward == attack.worth else f"earned {self.reward}, is worth {attack.worth}"


class Arena:
    """A client of the service. `honest` are oracle answers not used before, by environment."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._served = dict.fromkeys(NAMES, 0)

    async def play(self, client: Client, name: str, attack: Attack) -> Result:
        began = time.monotonic()
        sessions = REGISTRY.load(name).cls.keeps_sessions()
        items: Items = []
        body: dict[str, Any] = attack.row
        if sessions:
            seeded = await client.post(f"/{name}/seed_session", attack.row, check=False)
            if seeded.status != 200:
                return _result(seeded, began)
            body = {"session_id": json.loads(seeded.body)["session_id"]}
        for number, call in enumerate(attack.calls):
            items += await self._call(client, name, body.get("session_id", ""), call, number)
        items = items + (text_output(attack.output) if isinstance(attack.output, str) else attack.output)
        group = uuid.uuid4().hex
        member = {"group_id": group, "rollout_id": group}  # a group of one, where groups are judged
        asked = msgspec.json.encode({**body, "response": {"output": items}, "palaestra": member})
        said = await client.post(f"/{name}/verify", asked, check=False, timeout_s=VERDICT_S)
        if said.status == 202:
            waits = {**member, "wait_s": 30}
            said = await client.post(f"/{name}/group_verdict", waits, check=False, timeout_s=VERDICT_S)
        if sessions:
            await client.post(f"/{name}/close_session", body)
        return _result(said, began)

    async def _call(self, client: Client, name: str, session: str, call: Call, number: int) -> Items:
        arguments = msgspec.json.encode(call.arguments)
        about = {headers.SESSION: session}
        said = await client.post(f"/{name}/{call.name}", arguments, headers=about, check=False)
        return call_items(f"c{number}", call.name, arguments.decode(), said.body.decode("utf-8", "replace"))

    async def play_all(self, client: Client, name: str, attacks: list[Attack]) -> list[Result]:
        """All of them, a few side by side, in order."""
        gate = asyncio.Semaphore(SIDE_BY_SIDE)

        async def one(attack: Attack) -> Result:
            async with gate:
                return await self.play(client, name, attack)

        return await asyncio.gather(*(one(attack) for attack in attacks))

    async def honest(self, client: Client, name: str) -> Result:
        """A new task, answered as the oracle does."""
        environment = REGISTRY.load(name).cls()
        self._served[name] += 1
        start = 10 * self._served[name]
        # In a thread: some take seconds on a busy machine, and connections of the others would be late meanwhile.
        (task,) = await asyncio.to_thread(make_tasks, environment, seed=991, level=1, count=1, start=start)
        script = await settle(environment.oracle(task))
        script = script if isinstance(script, Script) else Script(reply=script)
        answer = Attack(name="honest", row=task.to_row(), output=script.reply, calls=script.calls)
        return await self.play(client, name, answer)


def _result(said: Any, began: float) -> Result:
    seconds = time.monotonic() - began
    body = json.loads(said.body)
    if said.status == 200:
        return Result(body["verdict"]["reward"], seconds=seconds)
    error = body["error"]
    return Result(None, said.status, error["code"], error.get("field", ""), seconds)


@contextmanager
def served() -> Iterator[Arena]:
    """`palaestra env serve` with all of `NAMES` and two workers, in a process of its own."""
    serve = ["env", "serve", *NAMES, "--workers", "2", "--parent-pid", str(os.getpid())]
    command = [sys.executable, "-m", "palaestra", *serve]
    settings = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PALAESTRA_LOG_LEVEL": "CRITICAL"}
    process = subprocess.Popen(
        command, cwd=ROOT, env=settings, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    try:
        yield Arena(json.loads(process.stdout.readline())["url"])
        assert process.poll() is None, "the service is gone"
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


def tasks_of(name: str, levels: list[int], count: int = 1, seed: int = 77) -> list[Task]:
    """Generated tasks, hidden fields included."""
    environment = REGISTRY.load(name).cls()
    return [
        make_task(environment, TaskRef(seed=seed, level=level, index=index))
        for level in levels
        for index in range(count)
    ]


def oracle_text(name: str, task: Task) -> str:
    """The oracle's last words."""
    script = REGISTRY.load(name).cls().oracle(task)
    return script.reply if isinstance(script, Script) else str(script)


def texts(row: Row, said: dict[str, str], **more: Any) -> list[Attack]:
    """Attacks with plain words, by name."""
    return [Attack(name=name, row=row, output=output, **more) for name, output in said.items()]
