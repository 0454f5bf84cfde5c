"""The first rollouts of a newcomer: environments, an agent server and a policy in one process, and what they say.

    tasks of some environments ─▶ POST /rollouts ─▶ conversation, verdict, components ─▶ a store to look at

Without a model the policy is scripted: it plays each environment's own oracle, and in every second rollout of an
environment the answer to another task, so that a low reward is seen as well.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import psutil
from aiohttp import web

from gym_core import auth
from gym_core.client import Client
from gym_core.contracts import RUN_KEY, Rollout, Task
from gym_core.environment import Script
from gym_core.errors import BadRequest
from gym_core.generate import make_tasks
from gym_core.host import settle
from gym_core.registry import Registry
from gym_core.serve import start
from gym_core.store import Run, Store

ENVIRONMENTS = ("ledger", "math", "structured_outputs", "instruction_following")
DEADLINE_S = 120.0


@dataclass(slots=True)
class Plan:
    """One rollout to play. `script` is what a scripted policy does, None where a model decides."""

    task: Task
    about: str = ""
    script: Script | None = None


@dataclass(slots=True)
class Quickstart:
    """Where everything is, and what came of it. `first_s` is from the start of this process to the first reward."""

    folder: Path
    run_id: str
    urls: dict[str, str] = field(default_factory=dict)
    ready_s: float = 0.0
    first_s: float = 0.0
    rewards: list[float] = field(default_factory=list)

    @property
    def store(self) -> Path:
        return self.folder / "store.db"


async def plan(names: Sequence[str], count: int, seed: int, level: int, scripted: bool) -> list[Plan]:
    """`count` tasks, the environments in turn. Raises `BadRequest` where one makes no tasks."""
    registry = Registry.discover()
    plans = []
    for number in range(count):
        name = registry.resolve(names[number % len(names)])
        environment = registry.load(name).cls()
        if not environment.overrides("make"):
            raise BadRequest(f"environment {name!r} makes no tasks of its own", field="env", hint="choose another")
        nth = number // len(names)
        mine, other = make_tasks(environment, seed=seed, level=level, count=2, start=2 * nth)
        if not scripted:
            plans.append(Plan(mine))
            continue
        # every second one of an environment is wrong, in every second environment the first one
        wrong = (number % len(names) + nth) % 2 == 1
        said = await settle(environment.oracle(other if wrong else mine))
        script = said if isinstance(said, Script) else Script(reply=said)
        about = "scripted: another task's answer" if wrong else "scripted: the oracle's answer"
        plans.append(Plan(mine, about, script))
    return plans


class House:
    """The three servers on loopback, from `async with` to its end."""

    def __init__(self, quickstart: Quickstart, plans: Sequence[Plan], policy: web.Application | None) -> None:
        self._quickstart = quickstart
        self._plans = plans
        self._policy = policy
        self._stack = AsyncExitStack()
        self._token = auth.secret()
        self._agent: Client

    async def __aenter__(self) -> House:
        began = time.perf_counter()
        try:
            await self._open()
        except BaseException:
            await self._stack.aclose()
            raise
        self._quickstart.ready_s = time.perf_counter() - began
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _open(self) -> None:
        from agent_server import app as agent
        from agent_server.config import AgentConfig
        from gym_core import server
        from palaestra import scripted

        registry = Registry.discover()
        names = sorted({one.task.environment for one in self._plans})
        settings = server.EnvironmentServiceConfig(token=self._token)
        gym = server.build_app([registry.load(name) for name in names], settings)
        scripts = {one.task.task_id: (one.task, one.script) for one in self._plans if one.script is not None}
        policy = self._policy or scripted.build_app(scripted.scripts_by_prompt(scripts), token=self._token)
        urls = self._quickstart.urls
        urls["environments"] = (await self._serve(gym)).url
        urls["policy"] = (await self._serve(policy)).url
        config = AgentConfig(
            environments={name: f"{urls['environments']}/{name}" for name in names},
            policy_url=urls["policy"],
            store=str(self._quickstart.store),
        )
        urls["agent"] = (await self._serve(agent.build_app(config, token=self._token))).url
        self._agent = await self._stack.enter_async_context(Client(urls["agent"], token=self._token, retries=0))

    async def _serve(self, app: web.Application) -> Any:
        return await self._stack.enter_async_context(await start(app, token=self._token))

    async def play(self) -> AsyncIterator[tuple[Plan, Rollout]]:
        """Rollouts in the order of the plan, each as soon as it and those before it are over."""
        plans = {f"{self._quickstart.run_id}/{number}": one for number, one in enumerate(self._plans)}
        rows = [
            {**one.task.to_row(), RUN_KEY: self._options(rollout_id, number)}
            for number, (rollout_id, one) in enumerate(plans.items())
        ]
        finished: dict[str, Rollout] = {}
        waiting = list(plans)
        async for head, _ in self._agent.stream("/rollouts", {"rows": rows}, timeout_s=2 * DEADLINE_S):
            rollout = msgspec.json.decode(head, type=Rollout)
            finished[rollout.rollout_id] = rollout
            if not self._quickstart.first_s and rollout.reward is not None:
                self._quickstart.first_s = time.time() - psutil.Process().create_time()
            while waiting and waiting[0] in finished:
                name = waiting.pop(0)
                if (reward := finished[name].reward) is not None:
                    self._quickstart.rewards.append(reward)
                yield plans[name], finished[name]

    def _options(self, rollout_id: str, number: int) -> dict[str, Any]:
        run_id = self._quickstart.run_id
        return {"rollout_id": rollout_id, "run_id": run_id, "seed": number, "deadline_s": DEADLINE_S}


def begin(runs_dir: Path) -> Quickstart:
    """A folder of its own under `runs_dir`. Raises `BadRequest` where none can be made."""
    run_id = f"quickstart-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    try:
        (runs_dir / run_id).mkdir(parents=True)
    except OSError as error:
        raise BadRequest(
            f"cannot make the folder {runs_dir / run_id}: {error.strerror}",
            field="runs_dir",
            hint="name another folder with --runs-dir",
        ) from None
    return Quickstart(runs_dir / run_id, run_id)


async def record(quickstart: Quickstart, kind: str) -> None:
    """Keep the run's own record beside its rollouts."""
    async with await Store.open(str(quickstart.store)) as store:
        await store.create_run(Run(run_id=quickstart.run_id, kind="quickstart", arm=kind))


async def close(quickstart: Quickstart, ok: bool) -> None:
    """Say in the store how it ended."""
    rewards = quickstart.rewards
    mean = sum(rewards) / len(rewards) if rewards else None
    async with await Store.open(str(quickstart.store)) as store:
        summary = {"mean_reward": mean, "rollouts": len(rewards), "first_rollout_s": round(quickstart.first_s, 2)}
        await store.finish_run(quickstart.run_id, "finished" if ok else "failed", summary)
