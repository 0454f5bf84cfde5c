"""Thousands of rollouts while every server is killed, hangs, fails, breaks off and lies, and callers hang up.

None is lost, none is there twice, none has a reward that the environment did not give it, and the report counts all.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import uvloop
from faulty import ENDLESS, FaultyPolicy
from house_on_fire import FAULTS, Agent, FaultyEnvironment, HangUp, Mortal, ask_until_told

from gym_core.contracts import Outcome, Rollout
from gym_core.store import Store
from gym_core.tokens import decode_trace

TROUBLES = ("agent", "environment", "policy", "caller", "taken back")
"""What goes a third into each batch in turn: a server, or whoever asked for the batch."""
QUICK_S, PATIENT_S = 3.0, 120.0
OUTAGE = {"unavailable", "circuit_open", "deadline_exceeded"}
"""What a rollout may be told that met no fault of its own: a server was away."""


def rows(policy: FaultyPolicy, environment: FaultyEnvironment, first: int, count: int) -> list[dict[str, Any]]:
    """Only rollouts that would never end get a short deadline: the others must not fail because a machine is busy."""
    made = []
    for number in range(first, first + count):
        name = f"r/{number}"
        endless = policy.fault_of(name) in ENDLESS or environment.fault_of(name) == "hangs"
        params = {"input": f"task {number}", "tools": [{"type": "function", "name": "add", "parameters": {}}]}
        options = {"rollout_id": name, "run_id": "run", "deadline_s": QUICK_S if endless else PATIENT_S}
        made.append({"environment": "fake", "responses_create_params": params, "palaestra": options})
    return made


@pytest.mark.parametrize(("count", "batch"), [(600, 120), pytest.param(10_000, 200, marks=pytest.mark.slow)])
def test_nothing_is_lost_doubled_or_made_up(tmp_path: Path, count: int, batch: int) -> None:
    """On the loop that our services run on: asyncio's own (Python 3.11) drops what it accepts while a server closes."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(play(tmp_path, count, batch))


async def play(tmp_path: Path, count: int, batch: int) -> None:
    policy, environment = FaultyPolicy(share_of_faults=0.25), FaultyEnvironment(share_of_faults=0.25)
    brain, gym = Mortal(policy.app), Mortal(environment.app)
    store = tmp_path / "store.db"
    told: dict[str, list[tuple[Rollout, bytes]]] = {}
    strikes: Counter[str] = Counter()
    revocable: set[str] = set()
    taken_back = 0
    async with AsyncExitStack() as stack:
        for server in (brain, gym):
            stack.push_async_callback(server.die)
        arguments = ["agent", "serve", "--env", f"fake={await gym.live()}", "--policy", await brain.live()]
        agent = Agent([*arguments, "--store", str(store)], tmp_path)
        stack.push_async_callback(agent.stop)
        for number, first in enumerate(range(0, count, batch)):
            trouble = TROUBLES[number % len(TROUBLES)]
            asked = rows(policy, environment, first, batch)
            names = [row["palaestra"]["rollout_id"] for row in asked]
            struck = False

            async def strike(_: Rollout, so_far: int, trouble: str = trouble, names: list[str] = names) -> None:
                """A third into the batch something goes; environment and policy are back two thirds into it."""
                nonlocal struck, taken_back
                if so_far == batch // 3 and not struck:
                    struck = True
                    strikes[trouble] += 1
                    if trouble in ("caller", "taken back"):
                        revocable.update(names)
                    if trouble == "caller":
                        raise HangUp
                    if trouble == "taken back":
                        taken_back += await agent.take_back(names)
                    else:
                        await (
                            agent.kill() if trouble == "agent" else (gym if trouble == "environment" else brain).die()
                        )
                elif so_far >= 2 * batch // 3 and struck:
                    await gym.live()
                    await brain.live()

            told |= await ask_until_told(agent, asked, strike)
            await gym.live()
            await brain.live()

    last = {name: said[-1][0] for name, said in told.items()}
    assert len(last) == count and strikes == Counter(TROUBLES[n % len(TROUBLES)] for n in range(count // batch))
    assert agent.deaths == strikes["agent"]
    twice = [name for name, said in told.items() if any(one != said[0] for one in said)]
    assert twice == [], "a rollout that was told is told the same for ever"
    wrong = {name: (rollout.outcome.value, rollout.reward, rollout.error) for name, rollout in last.items()
             if not as_it_should(rollout, policy.fault_of(name), environment, name in revocable)}  # fmt: skip
    assert wrong == {}
    met = {environment.fault_of(name) for name in last if not policy.fault_of(name)}
    assert met == {"", *FAULTS}, "some fault was never met"
    assert sum(rollout.outcome is Outcome.SCORED for rollout in last.values()) > count / 5

    revoked = sum(rollout.outcome is Outcome.CANCELLED for rollout in last.values())
    assert 0 < taken_back <= revoked, "some were taken back, and each is told as that"

    async with await Store.open(store, create=False) as kept:
        stored = {rollout.rollout_id: (rollout, blob) async for rollout, blob in kept.iter_rollouts("run")}
        totals = await kept.totals("run")
    assert stored == {name: said[-1] for name, said in told.items()}
    assert all(sum(info.num_tokens for info in rollout.traces) == len(decode_trace(blob))
               for rollout, blob in stored.values())  # fmt: skip
    reported: Counter[str] = Counter()
    for total in totals:
        reported[str(total.outcome)] += total.rollouts
    assert reported == Counter(str(rollout.outcome) for rollout in last.values()) and reported.total() == count
    print(f"{count} rollouts: {dict(reported)}; strikes {dict(strikes)}; {taken_back} taken back by /cancel")


def as_it_should(rollout: Rollout, policy_fault: str, environment: FaultyEnvironment, revocable: bool) -> bool:
    """Scored with the truth and nothing else; or without a reward, for its own fault or because a server was away, or
    taken back where somebody did that."""
    if rollout.outcome is Outcome.SCORED:
        fault_free = not policy_fault and not environment.fault_of(rollout.rollout_id)
        return fault_free and rollout.error is None and rollout.reward == environment.truth(rollout.rollout_id)
    if rollout.reward is not None or rollout.verdict is not None or rollout.error is None:
        return False
    if rollout.outcome is Outcome.CANCELLED:
        return revocable and rollout.error.code == "cancelled"
    own = (
        bool(policy_fault)
        if rollout.outcome is Outcome.POLICY_ERROR
        else bool(environment.fault_of(rollout.rollout_id))
    )
    allowed = (Outcome.POLICY_ERROR, Outcome.ENV_ERROR)
    return rollout.outcome in allowed and (own or rollout.error.code in OUTAGE)
