"""kill -9 of each service while rollouts are under way: typed outcomes in seconds, nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from fakes import FakeEnvironment, FakePolicy, message

from agent_server.app import build_app
from agent_server.config import AgentConfig
from gym_core.client import Client
from gym_core.contracts import Outcome, Rollout
from gym_core.errors import PalaestraError
from gym_core.registry import Registry
from gym_core.serve import start
from gym_core.server import SERVICES, EnvironmentServiceConfig
from gym_core.server import build_app as environment_app
from gym_core.store import Store
from gym_core.tokens import decode_trace
from palaestra.processes import ServiceProcess, start_service

TYPED_WITHIN_S = 5.0


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny hybrid that has learnt nothing: it talks until its limit, which keeps a policy server busy."""
    from model.checkpoint import save_pretrained
    from model.config import HybridConfig
    from model.stack import HybridModel
    from model.tokenizer import Tokenizer

    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    tokenizer = Tokenizer.train([], 300)
    save_pretrained(HybridModel(HybridConfig.tiny(tokenizer.vocab_size), seed=0), folder, also=tokenizer.save)
    return folder


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


async def launch(stack: AsyncExitStack, folder: Path, name: str, *arguments: str) -> ServiceProcess:
    service = await start_service(name, [*arguments, "--parent-pid", str(os.getpid())], folder / "logs")
    stack.push_async_callback(service.stop)
    return service


async def kill(service: ServiceProcess) -> None:
    os.kill(service.process.pid, signal.SIGKILL)
    await service.process.wait()


class GatedPolicy(FakePolicy):
    """Answers so many turns at once and holds the others back until its gate opens."""

    def __init__(self, at_once: int) -> None:
        super().__init__([message("Done.")])
        self.at_once, self.num_asked = at_once, 0
        self.gate, self._came = asyncio.Event(), asyncio.Condition()

    async def _turn(self, request: web.Request) -> web.StreamResponse:
        self.num_asked += 1
        held = self.num_asked > self.at_once
        async with self._came:
            self._came.notify_all()
        if held:
            await self.gate.wait()
        return await super()._turn(request)

    async def crowd(self, count: int) -> None:
        """Wait until so many turns have been asked for."""
        async with self._came:
            await self._came.wait_for(lambda: self.num_asked >= count)


def named(rows: list[dict[str, Any]], run_id: str = "run", **options: Any) -> list[dict[str, Any]]:
    return [{**row, "palaestra": {"rollout_id": f"{run_id}/{n}", "run_id": run_id, **options}}
            for n, row in enumerate(rows)]  # fmt: skip


async def drain(frames: AsyncIterator[tuple[bytes, bytes]]) -> list[Rollout]:
    return [msgspec.json.decode(head, type=Rollout) async for head, _ in frames]


def failed_without_reward(rollout: Rollout, outcome: Outcome) -> bool:
    return rollout.outcome is outcome and rollout.reward is None and rollout.verdict is None and bool(rollout.error)


async def test_a_policy_killed_amid_generation(stack: AsyncExitStack, tmp_path: Path, checkpoint: Path) -> None:
    """The real policy, the real ledger with sessions, two samples at a time, so that most are waiting when it dies."""
    policy = await launch(stack, tmp_path, "policy", "serve", "--model", str(checkpoint), "--slots", "2")
    gym_app = environment_app([Registry.discover().load("ledger")], EnvironmentServiceConfig())
    gym = await stack.enter_async_context(await start(gym_app))
    store = tmp_path / "store.db"
    settings = AgentConfig(environments={"ledger": gym.url}, policy_url=policy.url, store=str(store))
    agent = await stack.enter_async_context(await start(build_app(settings)))
    client = await stack.enter_async_context(Client(agent.url, retries=0))
    environment = await stack.enter_async_context(Client(gym.url))
    rows = (await environment.post_json("/tasks", {"count": 12}))["tasks"]

    asked = named(rows, sampling={"max_output_tokens": 48})
    frames = client.stream("/rollouts", {"rows": asked}, timeout_s=60)
    first = msgspec.json.decode((await anext(frames))[0], type=Rollout)
    await kill(policy)
    async with asyncio.timeout(TYPED_WITHIN_S):
        rest = await drain(frames)

    assert first.outcome.trainable and first.reward is not None
    assert len(rest) == len(rows) - 1
    lost = [rollout for rollout in rest if not rollout.outcome.trainable]
    assert len(lost) >= len(rows) - 4
    assert all(failed_without_reward(rollout, Outcome.POLICY_ERROR) for rollout in lost)
    assert {rollout.error.code for rollout in lost if rollout.error} == {"unavailable"}
    assert len(gym_app[SERVICES]["ledger"].sessions) == 0, "every session is closed, also those of failed rollouts"
    async with await Store.open(store, create=False) as kept:
        stored = {rollout.rollout_id: rollout async for rollout, _ in kept.iter_rollouts("run", blobs=False)}
    assert stored == {rollout.rollout_id: rollout for rollout in [first, *rest]}


async def test_an_environment_killed_during_a_batch(stack: AsyncExitStack, tmp_path: Path) -> None:
    """Half are with the policy when the environment dies: their answers are there and nobody can judge them."""
    gym = await launch(stack, tmp_path, "environment", "env", "serve", "ledger")
    policy = GatedPolicy(4)
    brain = await stack.enter_async_context(await start(policy.app()))
    settings = AgentConfig(environments={"ledger": gym.url}, policy_url=brain.url, store=str(tmp_path / "store.db"))
    agent = await stack.enter_async_context(await start(build_app(settings)))
    client = await stack.enter_async_context(Client(agent.url, retries=0))
    environment = await stack.enter_async_context(Client(gym.url))
    rows = (await environment.post_json("/tasks", {"count": 10}))["tasks"]

    frames = client.stream("/rollouts", {"rows": named(rows)}, timeout_s=60)
    before = [msgspec.json.decode((await anext(frames))[0], type=Rollout) for _ in range(4)]
    await policy.crowd(len(rows))
    await kill(gym)
    policy.gate.set()
    async with asyncio.timeout(TYPED_WITHIN_S):
        rest = await drain(frames)

    assert all(rollout.outcome is Outcome.SCORED for rollout in before)
    assert len(rest) == 6 and all(failed_without_reward(rollout, Outcome.ENV_ERROR) for rollout in rest)
    assert {rollout.error.stage for rollout in rest if rollout.error} == {"verify"}
    assert all(rollout.output and rollout.traces for rollout in rest), "what the policy said is kept"
    later = await drain(client.stream("/rollouts", {"rows": named(rows[:3], "later")}, timeout_s=60))
    assert len(later) == 3 and all(failed_without_reward(rollout, Outcome.ENV_ERROR) for rollout in later)
    assert {rollout.error.stage for rollout in later if rollout.error} == {"seed"}


async def test_an_agent_server_killed_in_a_batch(stack: AsyncExitStack, tmp_path: Path) -> None:
    """What was told is stored; asked again by the same ids, the finished ones come back and the rest are played."""
    policy = GatedPolicy(9)
    brain = await stack.enter_async_context(await start(policy.app()))
    gym = await stack.enter_async_context(await start(FakeEnvironment().app()))
    store = tmp_path / "store.db"
    arguments = ["agent", "serve", "--policy", brain.url, "--env", f"fake={gym.url}", "--store", str(store)]
    agent = await launch(stack, tmp_path, "agent", *arguments)
    asked = named([{"environment": "fake", "responses_create_params": {"input": f"task {n}"}} for n in range(16)])

    told: dict[str, tuple[Rollout, bytes]] = {}
    async with Client(agent.url, retries=0) as client:
        frames = client.stream("/rollouts", {"rows": asked}, timeout_s=60)
        for _ in range(9):
            head, blob = await anext(frames)
            rollout = msgspec.json.decode(head, type=Rollout)
            told[rollout.rollout_id] = (rollout, blob)
        await kill(agent)
        with pytest.raises(PalaestraError):
            await drain(frames)

    async with await Store.open(store, create=False) as kept:
        assert {r.rollout_id: (r, blob) async for r, blob in kept.iter_rollouts("run")} == told

    policy.gate.set()
    again = await launch(stack, tmp_path, "agent-again", *arguments)
    num_asked = policy.num_asked
    async with Client(again.url, retries=0) as client:
        whole = {}
        async for head, blob in client.stream("/rollouts", {"rows": asked}, timeout_s=60):
            rollout = msgspec.json.decode(head, type=Rollout)
            assert rollout.rollout_id not in whole
            whole[rollout.rollout_id] = (rollout, blob)
    assert len(whole) == 16 and {name: whole[name] for name in told} == told
    assert policy.num_asked - num_asked == 7, "only what was missing is played"
    async with await Store.open(store, create=False) as kept:
        assert {r.rollout_id: (r, blob) async for r, blob in kept.iter_rollouts("run")} == whole
    assert all(len(decode_trace(blob)) == 5 for _, blob in whole.values())
