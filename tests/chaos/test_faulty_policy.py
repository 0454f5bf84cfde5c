"""A policy that fails in every way: each rollout ends with a typed outcome, none is lost, none is given a reward."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fakes import FakeEnvironment
from faulty import ENDLESS, FAULTS, FaultyPolicy

from agent_server.app import build_app
from agent_server.config import AgentConfig
from gym_core.client import Client
from gym_core.contracts import Outcome, Rollout
from gym_core.serve import start
from gym_core.store import Store
from gym_core.tokens import decode_trace

COUNT = 300
QUICK_S, PATIENT_S = 3.0, 60.0


def rows(policy: FaultyPolicy, count: int) -> list[dict[str, Any]]:
    """Only rollouts that would never end get a short deadline: the others must not fail because a machine is busy."""
    made = []
    for number in range(count):
        name = f"r/{number}"
        deadline_s = QUICK_S if policy.fault_of(name) in ENDLESS else PATIENT_S
        params = {"input": "hi", "tools": [{"type": "function", "name": "add", "parameters": {}}]}
        options = {"rollout_id": name, "run_id": "run", "deadline_s": deadline_s}
        made.append({"environment": "fake", "responses_create_params": params, "palaestra": options})
    return made


async def play(policy: FaultyPolicy, environment: FakeEnvironment, asked: list[Any], store: Path) -> list[Any]:
    async with await start(policy.app()) as brain, await start(environment.app()) as gym:
        config = AgentConfig(environments={"fake": gym.url}, policy_url=brain.url, store=str(store), max_running=64)
        async with await start(build_app(config)) as agent, Client(agent.url, retries=0, timeout_s=120) as client:
            stream = client.stream("/rollouts", {"rows": asked})
            return [(msgspec.json.decode(head, type=Rollout), blob) async for head, blob in stream]


async def test_hundreds_of_rollouts_against_a_policy_that_fails_half_of_the_time(tmp_path: Path) -> None:
    policy, environment = FaultyPolicy(), FakeEnvironment()
    played = await play(policy, environment, rows(policy, COUNT), tmp_path / "store.db")
    told = {rollout.rollout_id: rollout for rollout, _ in played}
    assert len(played) == len(told) == COUNT

    wrong = {name: (policy.fault_of(name), r.outcome.value, r.reward, r.error) for name, r in told.items()
             if not (as_it_should(r, policy.fault_of(name)) or cut_short(r, policy.fault_of(name)))}  # fmt: skip
    assert wrong == {}
    assert Counter(r.outcome for r in told.values()).total() == COUNT
    assert len({policy.fault_of(name) for name in told}) == len(FAULTS) + 1, "some fault was never met"

    async with await Store.open(tmp_path / "store.db", create=False) as store:
        kept = {rollout.rollout_id: (rollout, blob) async for rollout, blob in store.iter_rollouts("run")}
    assert {name: rollout for name, (rollout, _) in kept.items()} == told
    assert {name: blob for name, (_, blob) in kept.items()} == {rollout.rollout_id: blob for rollout, blob in played}
    assert environment.opened == COUNT and len(set(environment.closed)) == COUNT


def as_it_should(rollout: Rollout, fault: str) -> bool:
    if not fault:
        return rollout.outcome is Outcome.SCORED and rollout.reward == 1.0 and rollout.error is None
    return (
        rollout.outcome is Outcome.POLICY_ERROR
        and rollout.reward is None
        and rollout.verdict is None
        and rollout.error is not None
        and rollout.error.stage == "generate"
        and bool(rollout.error.message)
    )


def cut_short(rollout: Rollout, fault: str) -> bool:
    """On a machine that stands still, a short deadline may pass before the policy was ever asked."""
    return (
        fault in ENDLESS
        and rollout.outcome is Outcome.ENV_ERROR
        and rollout.reward is None
        and rollout.error is not None
        and rollout.error.code == "deadline_exceeded"
        and rollout.error.stage == "seed"
    )


@pytest.mark.parametrize("fault", sorted(FAULTS))
async def test_each_fault_alone_is_a_policy_error_and_its_tokens_can_be_opened(tmp_path: Path, fault: str) -> None:
    policy = FaultyPolicy(share_of_faults=1.0)
    policy.fault_of = lambda _: fault  # type: ignore[method-assign]
    environment = FakeEnvironment()
    ((rollout, blob),) = await play(policy, environment, rows(policy, 1), tmp_path / "store.db")
    assert as_it_should(rollout, fault), rollout.error
    assert sum(info.num_tokens for info in rollout.traces) == len(decode_trace(blob))
    assert environment.verified == [], "nobody may be asked for a verdict on a reply that is none"
