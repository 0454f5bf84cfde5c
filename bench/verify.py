"""What a verdict costs in each environment: per second through its service, and CPU-ms in it, cache off.

    answers   of generated tasks of every level: the oracle's, the oracle's of another task, and junk, in equal shares
    service   `palaestra env serve NAME` with its workers, verdict cache off, callers in a closed loop; CPU is that of
              the whole process tree from /proc, dead children included. Both gradings are made, as always.
    in process   the same answers on one object in a process of its own: `strict` and `published` apart

Now and then the answer to another task is right: two small numbers that are equal, a program of the same family. An
environment with sessions is counted by rollouts: seed, the script's tool calls, verify, close. `load` says how many
other processes wanted the cores. Where this machine lacks what an environment needs its row says what, and no figure.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import msgspec
from support.servers import Server, _children, start

from gym_core import headers
from gym_core.client import Client
from gym_core.contracts import Task
from gym_core.environment import Environment, GroupEntry, Script
from gym_core.generate import make_tasks
from gym_core.host import settle
from gym_core.play import call_items, play_script
from gym_core.registry import Registry
from gym_core.reply import read_reply, text_output

COLUMNS = (
    *("environment", "answers", "verdicts_per_s", "cpu_ms", "p50_ms", "p99_ms"),
    *("strict_ms", "published_ms", "oracle_mean", "wrong_mean", "junk_mean", "load"),
)
KINDS = ("oracle", "wrong", "junk")
JUNK = ("asdf", "42", "I do not know.", "```python\nprint(1)\n```", '{"a": [1, 2, 3]}', "\\boxed{B}", "word " * 200)
TICKS = os.sysconf("SC_CLK_TCK")
SEED = 2026


@dataclass(slots=True, frozen=True)
class Answer:
    """One thing to be judged: a task's row, what is said and done, and of which kind it is."""

    kind: str
    task: Task
    script: Script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print a JSON list of rows")
    parser.add_argument("--quick", action="store_true", help="2 seconds a measurement instead of 10")
    parser.add_argument("--seconds", type=float, default=0.0, help="length of each measurement")
    parser.add_argument("--env", action="append", default=[], help="only this environment; may be repeated")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--one", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    seconds = options.seconds or (2.0 if options.quick else 10.0)
    if options.one:
        print(json.dumps(asyncio.run(in_process(options.one, seconds))))
        return
    rows = [measure(name, options.workers, seconds) for name in options.env or Registry.discover().names()]
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    print("  ".join(f"{column:>14}" for column in COLUMNS))
    for row in rows:
        said = row.get("unavailable")
        shown = f"{row['environment']:>14}  {said}" if said else "  ".join(f"{row[column]!s:>14}" for column in COLUMNS)
        print(shown)


def measure(name: str, workers: int, seconds: float) -> dict[str, Any]:
    """A row: the service first, then the object alone."""
    if missing := Registry.discover().load(name).cls().unavailable():
        return {**dict.fromkeys(COLUMNS), "environment": name, "unavailable": missing}
    answers = asyncio.run(answers_of(Registry.discover().load(name).cls()))
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.toml"
        config.write_text("[environments]\nverdict_cache = 0\n")
        serve = ["-m", "palaestra", "env", "serve", name, "--workers", str(workers), "--config", str(config)]
        server = start(name, serve)
        try:
            asyncio.run(_drive(server, name, answers, workers, min(1.0, seconds)))  # workers load their libraries
            before = tree_cpu_s(server.process.pid)
            times, rewards, took = asyncio.run(_drive(server, name, answers, workers, seconds))
            cpu_s = tree_cpu_s(server.process.pid) - before
        finally:
            server.stop()
    alone = [sys.executable, __file__, "--one", name, "--seconds", str(seconds / 2)]
    inside = json.loads(subprocess.run(alone, check=True, capture_output=True, text=True).stdout)
    return {
        "environment": name,
        "answers": len(times),
        "verdicts_per_s": round(len(times) / took, 1),
        "cpu_ms": round(1000 * cpu_s / len(times), 2),
        "p50_ms": round(_quantile(times, 0.5), 2),
        "p99_ms": round(_quantile(times, 0.99), 2),
        **inside,
        **{f"{kind}_mean": round(sum(rewards[kind]) / max(1, len(rewards[kind])), 3) for kind in KINDS},
        "load": round(os.getloadavg()[0], 1),
    }


async def answers_of(environment: Environment, per_level: int = 6) -> list[Answer]:
    """A third each of the oracle's words, the oracle's for another task, and junk, shuffled."""
    rng = random.Random(SEED)
    answers = []
    for level in environment.levels:
        tasks = make_tasks(environment, seed=SEED, level=level, count=per_level)
        scripts = [await settle(environment.oracle(task)) for task in tasks]
        scripts = [script if isinstance(script, Script) else Script(reply=script) for script in scripts]
        for place, task in enumerate(tasks):
            answers.append(Answer("oracle", task, scripts[place]))
            answers.append(Answer("wrong", task, scripts[place - 1]))
            answers.append(Answer("junk", task, Script(reply=rng.choice(JUNK))))
    rng.shuffle(answers)
    return answers


async def _drive(
    server: Server, name: str, answers: list[Answer], workers: int, seconds: float
) -> tuple[list[float], dict[str, list[float]], float]:
    """Closed loop of four callers per worker until the time is over: ms of each verdict, rewards by kind, seconds."""
    times: list[float] = []
    rewards: dict[str, list[float]] = defaultdict(list)
    waiting = cycle(answers)
    sessions = Registry.discover().load(name).cls.keeps_sessions()
    began = time.perf_counter()

    async def caller(client: Client) -> None:
        while time.perf_counter() - began < seconds:
            answer = next(waiting)
            asked = time.perf_counter()
            rewards[answer.kind].append(await _judged(client, answer, sessions))
            times.append(1000 * (time.perf_counter() - asked))

    async with Client(f"{server.url}/{name}", timeout_s=300) as client:
        await asyncio.gather(*(caller(client) for _ in range(4 * workers)))
    return times, rewards, time.perf_counter() - began


async def _judged(client: Client, answer: Answer, sessions: bool) -> float:
    row = answer.task.to_row()
    output: list[dict[str, Any]] = []
    body: dict[str, Any] = row
    if sessions:
        body = {"session_id": (await client.post_json("/seed_session", row))["session_id"]}
    for number, call in enumerate(answer.script.calls):
        arguments, told = msgspec.json.encode(call.arguments), ""  # without sessions calls are answers, and not run
        if sessions:
            about = {headers.SESSION: body["session_id"]}
            told = (await client.post(f"/{call.name}", arguments, headers=about, check=False)).body.decode()
        output += call_items(f"c{number}", call.name, arguments.decode(), told)
    output += text_output(answer.script.reply)
    group = uuid.uuid4().hex
    member = {"group_id": group, "rollout_id": group}  # a group of one, where groups are judged
    asked = {**body, "response": {"output": output}, "palaestra": member}
    said = await client.post_json("/verify", asked, headers={"Prefer": "return=minimal"})
    if "pending" in said:
        said = await client.post_json("/group_verdict", {**member, "wait_s": 30})
    if sessions:
        await client.post("/close_session", {"session_id": body["session_id"]})
    return float(said["verdict"]["reward"])


async def in_process(name: str, seconds: float) -> dict[str, Any]:
    """CPU-ms of a strict and of a published verdict on one object, this process and its children."""
    environment = Registry.discover().load(name).cls()
    answers = await answers_of(environment)
    await settle(environment.warm())
    strict = "verify_group" if environment.overrides("verify_group") else "verify"
    published = f"{strict}_published"
    return {
        "strict_ms": await _cpu_ms(environment, answers, strict, seconds),
        "published_ms": await _cpu_ms(environment, answers, published, seconds)
        if environment.overrides(published)
        else None,
    }


async def _cpu_ms(environment: Environment, answers: list[Answer], method: str, seconds: float) -> float:
    judge = getattr(environment, method)
    prepared: list[tuple[Any, ...]] = [await _prepared(environment, answer) for answer in answers]
    if method.startswith("verify_group"):
        prepared = [([GroupEntry("bench", task, reply)],) for task, _, reply in prepared]
    for given in prepared[:6]:
        await settle(judge(*given))
    began, count, before = time.monotonic(), 0, _own_cpu_s()
    for given in cycle(prepared):
        await settle(judge(*given))
        count += 1
        if time.monotonic() - began > seconds:
            break
    return round(1000 * (_own_cpu_s() - before) / count, 3)


async def _prepared(environment: Environment, answer: Answer) -> tuple[Task, Any, Any]:
    from gym_core.environment import Session

    items, _ = await play_script(environment, answer.task, answer.script, verify=False)
    state = await settle(environment.setup(answer.task)) if environment.keeps_sessions() else None
    return answer.task, Session(session_id="bench", task=answer.task, state=state), read_reply(items)


def _own_cpu_s() -> float:
    """This process from its own clock, and its tree of children from /proc (they may be alive)."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_utime + own.ru_stime + tree_cpu_s(os.getpid()) - sum(_ticks(os.getpid())[:2]) / TICKS


def tree_cpu_s(pid: int) -> float:
    """CPU seconds of a process, its living descendants, and those that each of them has already waited for."""
    return sum(sum(_ticks(one)) for one in (pid, *_children(pid))) / TICKS


def _ticks(pid: int) -> list[int]:
    """utime, stime, cutime, cstime of /proc/PID/stat."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return [0, 0, 0, 0]
    return [int(field) for field in fields[11:15]]


def _quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


if __name__ == "__main__":
    main()
