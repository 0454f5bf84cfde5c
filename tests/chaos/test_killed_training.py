"""A training run loses a part of itself: it stops in one clear line, keeps what was done, and goes on when resumed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import psutil
import pytest

from gym_core.store import Store
from trainer.journal import Journal

ROOT = Path(__file__).resolve().parent.parent.parent
STEPS, PROMPTS, GROUP, HELD_OUT = 4, 4, 4, 4
STOPS_WITHIN_S = 30.0  # five seconds for the failure to be typed, the rest for saving and for ending all services

RECIPE = f"""
vocab_size = 480
[environments]
math = {{ level = 0, tasks = 16, demonstrations = 24 }}
[sft]
lessons = 2
steps = 2
batch = 8
[grpo]
steps = {STEPS}
prompts_per_step = {PROMPTS}
group_size = {GROUP}
max_output_tokens = 24
[eval]
tasks = {HELD_OUT}
"""

Victim = Callable[[psutil.Process], psutil.Process]


@dataclass(slots=True)
class Ended:
    """How a run of the command ended."""

    code: int
    told: str
    out: bytes
    after_kill_s: float = 0.0
    left: list[str] = field(default_factory=list)


async def command(*arguments: str, kill_at: str = "", victim: Victim | None = None) -> Ended:
    """`palaestra ARGUMENTS`; when a line of its stderr holds `kill_at`, its `victim` dies by SIGKILL."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "palaestra", *arguments, cwd=ROOT, stdout=-1, stderr=-1,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.stderr is not None and process.stdout is not None
    loop = asyncio.get_running_loop()
    lines, family, killed_at = [], [], 0.0
    while line := (await process.stderr.readline()).decode():
        lines.append(line)
        if victim is not None and not killed_at and kill_at in line:
            parent = psutil.Process(process.pid)
            family = parent.children(recursive=True)
            os.kill(victim(parent).pid, signal.SIGKILL)
            killed_at = loop.time()
    out = await process.stdout.read()
    code = await process.wait()
    _, alive = psutil.wait_procs(family, timeout=5)
    return Ended(code, "".join(lines), out, loop.time() - killed_at, [str(one.cmdline()) for one in alive])


def agent_of(parent: psutil.Process) -> psutil.Process:
    return next(one for one in parent.children(recursive=True) if "agent" in one.cmdline())


def environments_of(parent: psutil.Process) -> psutil.Process:
    return next(one for one in parent.children(recursive=True) if "env" in one.cmdline())


def policy_of(parent: psutil.Process) -> psutil.Process:
    """Whoever listens at the address that the agent was given: with Ray, the actor that holds the engine."""
    return listening(parent, urlsplit(policy_url(parent)).port)


def replica_of(parent: psutil.Process) -> psutil.Process:
    """The busiest of the replicas behind that address: there is something to lose."""
    with urlopen(f"{policy_url(parent)}/replicas", timeout=30) as reply:
        rows = json.loads(reply.read())
    assert len(rows) == 2 and all(row["up"] and row["restarts"] == 0 for row in rows), rows
    busiest = max(rows, key=lambda row: (row["running"], row["requests"]))
    return listening(parent, urlsplit(busiest["url"]).port)


def policy_url(parent: psutil.Process) -> str:
    arguments = agent_of(parent).cmdline()
    return arguments[arguments.index("--policy") + 1]


def listening(parent: psutil.Process, port: int | None) -> psutil.Process:
    for one in parent.children(recursive=True):
        if any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in one.net_connections("tcp")):
            return one
    raise AssertionError(f"nobody below {parent} listens on port {port}")


async def stops_and_resumes(folder: Path, victim: Victim, *where: str) -> None:
    (folder / "tiny.toml").write_text(RECIPE)
    runs = folder / "runs"
    stopped = await command(
        "train", "--recipe", str(folder / "tiny.toml"), "--runs-dir", str(runs), "--json", *where,
        kill_at="GRPO 2/", victim=victim,
    )  # fmt: skip
    assert stopped.code == 2, stopped.told
    assert "Traceback" not in stopped.told
    assert sum(line.startswith("error: ") for line in stopped.told.splitlines()) == 1, stopped.told
    assert stopped.after_kill_s < STOPS_WITHIN_S and stopped.left == []
    (run,) = runs.iterdir()
    done = len(Journal(run / "journal.jsonl").entries())
    assert 2 <= done < STEPS and not (run / "summary.json").exists()
    async with await Store.open(run / "store.db", create=False) as store:
        kept = {rollout.rollout_id: rollout async for rollout, _ in store.iter_rollouts(run.name, blobs=False)}
        assert all((r.reward is None) == (not r.outcome.trainable) for r in kept.values())
        stored = await store.run(run.name)
        assert stored is not None and stored.status == "failed"

    resumed = await command("train", "--resume", str(run), "--runs-dir", str(runs), "--json", *where)
    assert resumed.code == 0, resumed.told
    summary = json.loads(resumed.out)
    assert summary["run_id"] == run.name and summary["environments"]["math"]["num_failed"] == 0
    entries = Journal(run / "journal.jsonl").entries()
    assert [entry.step for entry in entries] == list(range(STEPS))
    async with await Store.open(run / "store.db", create=False) as store:
        whole = {rollout.rollout_id: rollout async for rollout, _ in store.iter_rollouts(run.name, blobs=False)}
        stored = await store.run(run.name)
        assert stored is not None and stored.status == "finished"
    assert {name: whole[name] for name in kept} == kept, "what was finished before is as it was"
    for entry in entries:
        members = [member for group in entry.groups.values() for member in group]
        assert len(members) == PROMPTS * GROUP
        assert all((whole[name].outcome, whole[name].reward) == (outcome, reward) for name, outcome, reward in members)
    assert all((rollout.reward is None) == (not rollout.outcome.trainable) for rollout in whole.values())


async def test_a_run_whose_agent_server_dies(tmp_path: Path) -> None:
    await stops_and_resumes(tmp_path, agent_of, "--local")


async def test_a_run_whose_environments_die(tmp_path: Path) -> None:
    await stops_and_resumes(tmp_path, environments_of, "--local")


async def goes_on_without_a_replica(folder: Path, *where: str) -> None:
    """Nobody resumes anything: the step it dies in goes on with the other one, and not one rollout is lost."""
    (folder / "tiny.toml").write_text(RECIPE + "[policy]\nreplicas = 2\n")
    runs = folder / "runs"
    ended = await command(
        "train", "--recipe", str(folder / "tiny.toml"), "--runs-dir", str(runs), "--json", *where,
        kill_at="GRPO 2/", victim=replica_of,
    )  # fmt: skip
    assert ended.code == 0 and ended.left == [], ended.told
    (run,) = runs.iterdir()
    entries = Journal(run / "journal.jsonl").entries()
    assert [entry.step for entry in entries] == list(range(STEPS))
    for entry in entries:
        outcomes = [outcome for group in entry.groups.values() for _, outcome, _ in group]
        assert len(outcomes) == PROMPTS * GROUP and set(outcomes) <= {"scored", "truncated"}
    assert json.loads(ended.out)["environments"]["math"]["num_failed"] == 0
    assert "given up" in ended.told and "placing again" not in ended.told


async def test_a_run_one_of_whose_replicas_dies_goes_on(tmp_path: Path) -> None:
    await goes_on_without_a_replica(tmp_path, "--local")


@pytest.mark.slow
async def test_a_run_one_of_whose_replicas_dies_goes_on_on_ray(tmp_path: Path) -> None:
    await goes_on_without_a_replica(tmp_path)


@pytest.mark.slow
async def test_a_run_whose_policy_actor_dies_goes_on_by_itself(tmp_path: Path) -> None:
    """The environments live in an actor too, which is placed again with the others."""
    (tmp_path / "tiny.toml").write_text("environment_actors = 1\n" + RECIPE)
    runs = tmp_path / "runs"
    ended = await command(
        "train", "--recipe", str(tmp_path / "tiny.toml"), "--runs-dir", str(runs), "--json",
        kill_at="GRPO 2/", victim=policy_of,
    )  # fmt: skip
    assert ended.code == 0 and ended.left == [], ended.told
    assert "PolicyHost lost" in ended.told
    (run,) = runs.iterdir()
    assert [entry.step for entry in Journal(run / "journal.jsonl").entries()] == list(range(STEPS))
    assert json.loads(ended.out)["environments"]["math"]["num_failed"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [1, 2])
async def test_a_deterministic_run_that_is_killed_ends_with_the_same_bytes(tmp_path: Path, replicas: int) -> None:
    """The whole program dies, its services follow; everything but the warm start is done again or found.

    With two replicas it goes on with one, and ends with the bits of a run that never had two.
    """
    learning = RECIPE.replace("demonstrations = 24", "demonstrations = 200").replace("lessons = 2", "lessons = 60")
    (tmp_path / "tiny.toml").write_text(
        learning.replace("batch = 8", "batch = 24") + "[policy]\ndeterministic = true\n"
    )
    weights, journals = [], []
    for name, kill_at in (("straight", ""), ("killed", "GRPO 2/")):
        runs = tmp_path / name
        asked = ["train", "--recipe", str(tmp_path / "tiny.toml"), "--runs-dir", str(runs), "--json", "--local"]
        more = ["--set", f"policy.replicas={replicas}"] if kill_at else []
        ended = await command(*asked, *more, kill_at=kill_at, victim=itself if kill_at else None)
        if kill_at:
            assert ended.code == -signal.SIGKILL and ended.left == []
            one = ["--set", "policy.replicas=1"]
            ended = await command("train", "--resume", str(next(runs.iterdir())), "--json", "--local", *one)
        assert ended.code == 0, ended.told
        (run,) = runs.iterdir()
        weights.append((run / "after" / "model.safetensors").read_bytes())
        assert weights[-1] != (run / "before" / "model.safetensors").read_bytes(), "something was learnt"
        entries = Journal(run / "journal.jsonl").entries()
        journals.append([(e.tasks, [[m[1:] for m in g] for g in e.groups.values()], e.metrics["loss"])
                         for e in entries if "loss" in e.metrics])  # fmt: skip
    assert journals[0] == journals[1]
    assert weights[0] == weights[1]


def itself(parent: psutil.Process) -> psutil.Process:
    return parent
