"""Many rollouts: streamed as they finish, stored before they are told, found again, taken back, bounded."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from aiohttp import web
from fakes import FakePolicy, message

from gym_core.contracts import Outcome, Rollout
from gym_core.errors import BadRequest, BadRow, Busy, UnknownName
from gym_core.tokens import FRAME_TYPE

ROW: dict[str, Any] = {"environment": "fake", "responses_create_params": {"input": "hi"}}


def rows(count: int, **options: Any) -> dict[str, Any]:
    return {"rows": [{**ROW, "palaestra": {"rollout_id": f"r/{n}", "run_id": "run", **options}} for n in range(count)]}


async def stream(client: Any, body: Any) -> list[Rollout]:
    return [msgspec.json.decode(head, type=Rollout) async for head, _ in client.stream("/rollouts", body)]


async def test_a_batch_streams_every_rollout_once(house: Any) -> None:
    made = await house(FakePolicy([message("4")]))
    done = await stream(made.client, rows(20))
    assert sorted(rollout.rollout_id for rollout in done) == sorted(f"r/{n}" for n in range(20))
    assert all(rollout.outcome is Outcome.SCORED for rollout in done)


async def test_what_is_streamed_is_already_stored(house: Any) -> None:
    made = await house(FakePolicy([message("4")]))
    async for head, blob in made.client.stream("/rollouts", rows(3)):
        rollout = msgspec.json.decode(head, type=Rollout)
        reply = await made.client.get(f"/rollouts/{rollout.rollout_id}", headers={"Accept": FRAME_TYPE})
        stored, kept = reply.frame()
        assert msgspec.json.decode(stored, type=Rollout) == rollout and bytes(kept) == blob


async def test_one_bad_row_refuses_the_batch_before_it_starts(house: Any) -> None:
    made = await house(FakePolicy([message("4")]))
    body = rows(3)
    body["rows"][1]["responses_create_params"] = {}
    with pytest.raises(BadRow) as error:
        await stream(made.client, body)
    assert error.value.field == "rows[1].responses_create_params.input"
    assert made.policy.requests == []


async def test_the_same_id_asked_twice_is_one_rollout(house: Any) -> None:
    made = await house(FakePolicy([message("4")]))
    row = {**ROW, "palaestra": {"rollout_id": "once"}}
    headers = {"Accept": FRAME_TYPE, "Idempotency-Key": "once"}
    first = (await made.client.post("/run", row, headers=headers)).body
    second = (await made.client.post("/run", row, headers=headers)).body
    assert first == second and len(made.policy.requests) == 1
    plain = await made.client.post_json("/run", row, headers={"Idempotency-Key": "once"})
    assert plain["reward"] == 1.0 and len(made.policy.requests) == 1


async def test_a_caller_that_hangs_up_loses_nothing(house: Any) -> None:
    entered, release = asyncio.Event(), asyncio.Event()
    policy = FakePolicy([message("4")])
    answer = policy._turn

    async def slow(request: web.Request) -> web.StreamResponse:
        entered.set()
        await release.wait()
        return await answer(request)

    policy._turn = slow  # type: ignore[method-assign]
    made = await house(policy)
    row = {**ROW, "palaestra": {"rollout_id": "kept"}}
    asking = asyncio.create_task(made.client.post("/run", row, headers={"Accept": FRAME_TYPE}))
    await entered.wait()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    again = asyncio.create_task(made.client.post("/run", row, headers={"Accept": FRAME_TYPE}))
    release.set()
    rollout = msgspec.json.decode((await again).frame()[0], type=Rollout)
    assert rollout.outcome is Outcome.SCORED and len(made.policy.requests) == 1


async def test_cancel_ends_running_and_waiting_rollouts_as_cancelled(house: Any) -> None:
    entered = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        entered.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    made = await house(FakePolicy(hang), max_running=1)
    streaming = asyncio.create_task(stream(made.client, rows(3)))
    await entered.wait()
    assert await made.client.post_json("/cancel", {"run_id": "run"}) == {"cancelled": 3}
    done = await streaming
    assert [rollout.outcome for rollout in done] == [Outcome.CANCELLED] * 3
    assert made.environment.closed == ["s1"]
    stored = await made.client.get("/rollouts/r/0")
    assert stored.json()["outcome"] == "cancelled"


@pytest.mark.parametrize(
    "body",
    [
        [],
        None,
        {},
        {"run_id": 5},
        {"run_id": ["r"]},
        {"rollout_ids": 5},
        {"rollout_ids": "r"},
        {"rollout_ids": [["r"]]},
    ],
)
async def test_a_cancel_that_names_nothing_is_refused(house: Any, body: Any) -> None:
    made = await house(FakePolicy([message("4")]))
    with pytest.raises(BadRequest):
        await made.client.post("/cancel", msgspec.json.encode(body))


async def test_leaving_a_stream_takes_the_rest_back(house: Any) -> None:
    entered = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        entered.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    made = await house(FakePolicy(hang))
    streaming = asyncio.create_task(stream(made.client, rows(1)))
    await entered.wait()
    streaming.cancel()
    await asyncio.gather(streaming, return_exceptions=True)
    async with asyncio.timeout(5):
        await made.environment.all_closed.wait()


async def test_a_full_queue_answers_429(house: Any) -> None:
    made = await house(FakePolicy([message("4")]), max_queued=2)
    made.client.retries = 0
    with pytest.raises(Busy) as error:
        await stream(made.client, rows(3))
    assert "max_queued" in error.value.hint


async def test_an_unknown_rollout_is_404(house: Any) -> None:
    made = await house(FakePolicy([message("4")]))
    with pytest.raises(UnknownName, match="nothing/here"):
        await made.client.get("/rollouts/nothing/here")


async def test_asking_again_and_again_while_it_ends_plays_it_once(house: Any) -> None:
    made = await house(FakePolicy([message("4")]))
    row = {**ROW, "palaestra": {"rollout_id": "once"}}
    headers = {"Accept": FRAME_TYPE}
    asked = [asyncio.create_task(made.client.post("/run", row, headers=headers)) for _ in range(40)]
    bodies = {(await one).body for one in asked}
    assert len(bodies) == 1 and len(made.policy.requests) == 1
