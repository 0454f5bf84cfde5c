"""Two callers and one rollout: it goes on while one of them waits, and what is told is what is kept."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from aiohttp import web
from fakes import FakePolicy, message

from agent_server.config import AgentConfig
from agent_server.metrics import AgentMetrics
from agent_server.play import Play
from agent_server.player import Player
from agent_server.rollouts import Rollouts, read_request
from gym_core.contracts import Outcome, Rollout
from gym_core.errors import BadRequest, Conflict
from gym_core.store import Store, StoreFault
from gym_core.telemetry import Metrics

ROW: dict[str, Any] = {"environment": "fake", "responses_create_params": {"input": "hi"}}
ONE = {**ROW, "palaestra": {"rollout_id": "r", "run_id": "run"}}
OTHER = {**ONE, "responses_create_params": {"input": "something else"}}


class Gated(FakePolicy):
    """Answers when its gate opens."""

    def __init__(self) -> None:
        super().__init__([message("4")])
        self.entered, self.gate = asyncio.Event(), asyncio.Event()

    async def _turn(self, request: web.Request) -> web.StreamResponse:
        self.entered.set()
        await self.gate.wait()
        return await super()._turn(request)


async def first(frames: AsyncIterator[tuple[bytes, bytes]]) -> Rollout:
    return msgspec.json.decode((await anext(frames))[0], type=Rollout)


async def until(made: Any, name: str, value: float) -> None:
    """Wait until a gauge of the agent server stands at `value`."""
    async with asyncio.timeout(20):
        while f"\n{name} {value}" not in (await made.client.get("/metrics")).body.decode():
            await asyncio.sleep(0.01)


async def some_turns() -> None:
    """Of the loop: all that is ready runs."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.parametrize("stays", ["/rollouts", "/run"])
async def test_one_that_another_waits_for_is_not_taken_back(house: Any, stays: str) -> None:
    policy = Gated()
    made = await house(policy)
    leaving = asyncio.create_task(first(made.client.stream("/rollouts", {"rows": [ONE]})))
    await policy.entered.wait()
    if stays == "/run":
        staying = asyncio.create_task(made.client.post_json("/run", ONE))
    else:
        staying = asyncio.create_task(first(made.client.stream("/rollouts", {"rows": [ONE]})))
    await until(
        made, 'palaestra_requests_in_flight{method="POST",route="/rollouts"}', 2.0 if stays == "/rollouts" else 1.0
    )
    if stays == "/run":
        await until(made, 'palaestra_requests_in_flight{method="POST",route="/run"}', 1.0)
    leaving.cancel()
    await asyncio.wait({leaving})
    await until(
        made, 'palaestra_requests_in_flight{method="POST",route="/rollouts"}', 1.0 if stays == "/rollouts" else 0.0
    )
    policy.gate.set()
    told = await staying
    assert (told["outcome"] if isinstance(told, dict) else told.outcome.value) == "scored"
    assert len(policy.requests) == 1


async def test_one_that_is_being_stored_is_not_taken_back(house: Any, tmp_path: Path) -> None:
    policy = Gated()
    made = await house(policy)
    asking = asyncio.create_task(made.client.post_json("/run", ONE))
    await policy.entered.wait()
    with sqlite3.connect(tmp_path / "store.db", timeout=0, isolation_level=None) as another:
        another.execute("BEGIN IMMEDIATE")  # nobody else writes now
        policy.gate.set()
        await until(made, "palaestra_rollouts_storing", 1.0)
        assert await made.client.post_json("/cancel", {"run_id": "run"}) == {"cancelled": 0}
        another.execute("ROLLBACK")
    another.close()
    assert (await asking)["outcome"] == "scored"
    assert (await made.client.get("/rollouts/r")).json()["outcome"] == "scored"


async def test_what_another_server_has_kept_meanwhile_is_told(house: Any, tmp_path: Path) -> None:
    """Two agent servers over one store: a request that was sent to both ends as one rollout, whoever is asked."""
    policy = Gated()
    made = await house(policy)
    asking = asyncio.create_task(first(made.client.stream("/rollouts", {"rows": [ONE]})))
    await policy.entered.wait()
    asked = read_request(ONE)
    theirs = Rollout(rollout_id="r", environment="fake", task_id=asked.task.task_id, outcome=Outcome.TRUNCATED)
    async with await Store.open(tmp_path / "store.db", create=False) as store:
        await store.put_rollout(theirs)
        policy.gate.set()
        assert await asking == theirs
        assert [kept async for kept, _ in store.iter_rollouts()] == [theirs]


async def test_one_that_the_store_refuses_ends_alone(
    house: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk that is full for one of three: the batch goes on, and the one is told as what it is."""
    keep = Store.put_rollout

    async def full_for_r(store: Store, rollout: Rollout, *rest: Any) -> bool:
        if rollout.rollout_id == "r":
            raise StoreFault("No space left on device", hint="free some space and try again")
        return await keep(store, rollout, *rest)

    monkeypatch.setattr(Store, "put_rollout", full_for_r)
    made = await house(FakePolicy([message("4")]))
    told = {}
    async for head, blob in made.client.stream("/rollouts", {"rows": [ROW, ONE, ROW]}):
        rollout = msgspec.json.decode(head, type=Rollout)
        told[rollout.rollout_id] = rollout, blob
    lost, tokens = told.pop("r")
    assert [rollout.outcome for rollout, _ in told.values()] == [Outcome.SCORED] * 2
    assert (lost.outcome, lost.verdict, lost.traces, tokens) == (Outcome.ENV_ERROR, None, [], b"")
    assert lost.run_id == "run" and not lost.kept and all(rollout.kept for rollout, _ in told.values())
    assert lost.error is not None
    assert (lost.error.code, lost.error.stage, lost.error.server) == ("store_fault", "store", "agent")
    assert "rollout r is not kept" in caplog.text
    with pytest.raises(StoreFault, match="No space left"):  # one that was asked for alone may simply be asked for again
        await made.client.post_json("/run", ONE)
    monkeypatch.undo()
    assert (await made.client.post_json("/run", ONE))["outcome"] == "scored"


async def test_a_stream_that_is_left_late_takes_nothing_from_the_next_of_that_id() -> None:
    """It is left when `r` has ended but was not told; then two wait for `r`, begun anew, and one of them goes."""
    gates = {"q": asyncio.Event(), "r": asyncio.Event()}

    class Playing:
        async def play(self, row: Any, task: Any, options: Any) -> Play:
            name = options.rollout_id
            await gates[name].wait()
            rollout = Rollout(rollout_id=name, environment="fake", task_id=task.task_id, outcome=Outcome.SCORED)
            return Play(task, row, options, rollout)

    config = AgentConfig(environments={}, policy_url="http://127.0.0.1:1")
    rollouts = Rollouts(config, cast(Player, Playing()), None, AgentMetrics(Metrics("agent")))
    stream = rollouts.stream([read_request({**ROW, "palaestra": {"rollout_id": "q"}}), read_request(ONE)])
    gates["q"].set()
    assert (await anext(stream))[0].rollout_id == "q"
    gates["r"].set()
    await rollouts._tasks["r"]
    await stream.aclose()
    gates["r"].clear()
    playing = rollouts.start(read_request(ONE))
    leaving = rollouts.stream([read_request(ONE)])
    waiting = asyncio.ensure_future(anext(leaving))
    await some_turns()
    waiting.cancel()
    await asyncio.wait({waiting})
    await some_turns()
    gates["r"].set()
    assert (await playing).rollout.outcome is Outcome.SCORED


async def test_an_id_of_another_task_that_is_under_way_is_refused(house: Any) -> None:
    policy = Gated()
    made = await house(policy)
    asking = asyncio.create_task(made.client.post_json("/run", ONE))
    await policy.entered.wait()
    for refused in (made.client.post_json("/run", OTHER), first(made.client.stream("/rollouts", {"rows": [OTHER]}))):
        with pytest.raises(Conflict, match="'r' is there already"):
            await refused
    policy.gate.set()
    assert (await asking)["outcome"] == "scored"


async def test_a_batch_that_names_a_rollout_twice_is_refused(house: Any) -> None:
    made = await house(FakePolicy([message("4")]))
    with pytest.raises(BadRequest, match="told only once") as error:
        await first(made.client.stream("/rollouts", {"rows": [ONE, ROW, ROW, ONE]}))
    assert error.value.field == "rows[3].palaestra.rollout_id"
    assert made.policy.requests == []


async def test_one_taken_back_before_its_first_step_is_told_as_cancelled(tmp_path: Path) -> None:
    class NeverAsked:
        taken_back = Player.taken_back
        _fail = staticmethod(Player._fail)

    metrics = AgentMetrics(Metrics("agent"))
    async with await Store.open(tmp_path / "store.db") as store:
        config = AgentConfig(environments={}, policy_url="http://127.0.0.1:1")
        rollouts = Rollouts(config, cast(Player, NeverAsked()), store, metrics)
        playing = rollouts.start(read_request(ONE))
        assert rollouts.cancel("run", []) == 1
        play: Play = await playing
        assert play.rollout.outcome is Outcome.CANCELLED
        assert await store.get_rollout("r") == (play.rollout, b"")
