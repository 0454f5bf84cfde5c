"""The asynchronous client against a live agent server, and against transports that misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
from whole_gym import Gym, KnowingPolicy

from gym_core.client import Backoff
from gym_core.contracts import Outcome, Rollout
from gym_core.errors import BadRequest, Busy, DeadlineExceeded, RemoteError, Unavailable, UnknownName
from gym_core.sdk import AsyncClient
from gym_core.tokens import pack_frame

ROW = {"environment": "fake", "responses_create_params": {"input": "2 + 2?"}}


async def test_tasks_and_environments_come_from_the_agents_address(gym: tuple[Gym, KnowingPolicy]) -> None:
    async with AsyncClient(gym[0].agent.url) as client:
        assert [one["name"] for one in await client.environments()] == ["ledger", "math"]
        rows = await client.tasks("math", seed=11, level=0, count=3)
        assert rows == gym[0].math and rows == await client.tasks("math_with_judge", seed=11, level=0, count=3)
        with pytest.raises(UnknownName, match="mathh"):
            await client.tasks("mathh")
        with pytest.raises(BadRequest) as level:
            await client.tasks("math", level=99)
    assert level.value.field == "task_ref.level"


async def test_a_rollout_comes_with_its_tokens_as_arrays(gym: tuple[Gym, KnowingPolicy]) -> None:
    row = gym[0].math[0]
    async with AsyncClient(gym[0].agent.url) as client:
        played = await client.run(row, seed=3, labels={"by": "hand"})
        again = await client.rollout(played.rollout.rollout_id)
    assert played.reward == 1.0 and played.trainable and played.rollout.outcome is Outcome.SCORED
    assert played.rollout.seed == 3 and played.rollout.labels == {"by": "hand"}
    assert played.text == gym[0].scripts[row["task_id"]].reply
    (trace,) = played.traces
    assert trace.token_ids.tolist() == [7, 8, 100, 101, 102] and trace.token_ids.dtype == np.int32
    assert trace.loss_mask.tolist() == [False, False, True, True, True]
    assert trace.logprobs.tolist() == [0.0, 0.0, -0.5, -0.5, -0.5] and trace.versions.tolist() == [-1, -1, 3, 3, 3]
    assert again.rollout == played.rollout and again.blob == played.blob


async def test_groups_come_whole_and_in_order_with_seeds_of_their_own(gym: tuple[Gym, KnowingPolicy]) -> None:
    made, _ = gym
    unknown = {
        "environment": "math",
        "responses_create_params": {"input": "?"},
        "question": "?",
        "expected_answer": "1",
    }
    async with AsyncClient(made.agent.url) as client:
        groups = [group async for group in client.groups([made.math[0], unknown], 3, run_id="r", seed=5)]
        first = {member.rollout.rollout_id: member.rollout.seed for group in groups for member in group}
        recalled = [group async for group in client.groups([made.math[0], unknown], 3, run_id="r", seed=5)]
    by_id = {group.group_id: group for group in groups}
    assert by_id["r-0"].rewards == [1.0] * 3 and by_id["r-1"].rewards == [0.0] * 3
    assert [member.rollout.repeat for member in by_id["r-1"]] == [0, 1, 2]
    assert len(set(first.values())) == 6
    assert len(gym[1].asked) == 6, "the same run asked again is told again, not played again"
    assert {m.rollout.rollout_id: m.rollout.seed for group in recalled for m in group} == first


async def test_outcomes_are_data_and_what_is_wrong_with_the_request_is_raised(gym: tuple[Gym, KnowingPolicy]) -> None:
    gym[1].broken = True
    async with AsyncClient(gym[0].agent.url) as client:
        played = await client.run(gym[0].math[0])
        assert played.reward is None and not played.trainable and played.rollout.outcome is Outcome.POLICY_ERROR
        assert played.traces == [] and played.text == ""
        with pytest.raises(BadRequest) as option:
            await client.run(gym[0].math[0], sampling={"temperature": "hot"})
        with pytest.raises(BadRequest) as row:
            await client.run({"environment": "math", "responses_create_params": {}})
        with pytest.raises(BadRequest, match="no rows"):
            [one async for one in client.rollouts([])]
        with pytest.raises(BadRequest, match="at least one"):
            [one async for one in client.groups([gym[0].math[0]], 0)]
        with pytest.raises(UnknownName):
            await client.rollout("nobody's")
    assert option.value.field == "palaestra.sampling.temperature"
    assert row.value.field == "responses_create_params.input"


async def test_leaving_a_stream_takes_the_unfinished_back(gym: tuple[Gym, KnowingPolicy]) -> None:
    made, policy = gym
    policy.held_prompt = "SLOW"
    hung = {
        "environment": "math",
        "responses_create_params": {"input": "SLOW"},
        "question": "q",
        "expected_answer": "1",
    }
    async with AsyncClient(made.agent.url) as client:
        row = {**hung, "palaestra": {"rollout_id": "hung", "run_id": "left"}}
        stream = client.rollouts([made.math[0], row])
        assert (await anext(stream)).reward == 1.0
        await stream.aclose()
        policy.released.set()
        ended = await _until(lambda: client.rollout("hung"))
        assert ended.rollout.outcome is Outcome.CANCELLED
        assert await client.cancel("left") == 0
        with pytest.raises(BadRequest, match="run_id"):
            await client.cancel()


async def _until(look: Callable[[], Any]) -> Any:
    """What `look` finds once it finds something."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await look()
            except UnknownName:
                await asyncio.sleep(0.05)


# Transports that misbehave ------------------------------------------------------------------------------------------


def frame() -> bytes:
    rollout = Rollout(rollout_id="a", environment="fake", task_id="t", outcome=Outcome.SCORED)
    return pack_frame(msgspec.json.encode(rollout))


def client_over(*answers: Any, retries: int = 3) -> tuple[AsyncClient, list[httpx.Request], list[float]]:
    """A client whose server answers with these in turn: a response, or an exception."""
    left, seen, waits = list(answers), [], []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        said = left.pop(0)
        if isinstance(said, Exception):
            raise said
        return said

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    backoff = Backoff(sleep=sleep, uniform=lambda low, high: high)
    transport = httpx.MockTransport(answer)
    return AsyncClient("http://agent", transport=transport, retries=retries, backoff=backoff), seen, waits


async def test_a_full_server_is_asked_again_after_the_time_that_it_names() -> None:
    busy = httpx.Response(429, headers={"Retry-After": "7"}, json={"error": {"code": "busy", "message": "full"}})
    client, seen, waits = client_over(busy, httpx.ConnectError("no"), httpx.Response(200, content=frame()))
    assert (await client.run(ROW)).rollout.rollout_id == "a"
    assert waits == [7.0, 0.2], "what the server names, then the backoff's own: 0.1 · 2^1"
    bodies = [msgspec.json.decode(request.content)["palaestra"]["rollout_id"] for request in seen]
    assert len(seen) == 3 and len(set(bodies)) == 1, "the same rollout each time"


async def test_a_broken_connection_is_joined_again_and_a_refusal_is_not() -> None:
    client, seen, _ = client_over(httpx.ReadError("cut"), httpx.Response(200, content=frame()))
    await client.run(ROW)
    assert len(seen) == 2
    client, seen, _ = client_over(httpx.Response(500, json={"error": {"code": "internal", "message": "bug"}}))
    with pytest.raises(Exception, match="bug"):
        await client.run(ROW)
    assert len(seen) == 1
    client, seen, _ = client_over(httpx.ReadTimeout("late"))
    with pytest.raises(DeadlineExceeded):
        await client.run(ROW)
    client, seen, _ = client_over(*[httpx.Response(429)] * 3, retries=2)
    with pytest.raises(Busy):
        await client.run(ROW)
    assert len(seen) == 3


async def test_a_stream_is_not_begun_twice_and_one_that_breaks_off_says_so() -> None:
    client, seen, _ = client_over(httpx.ReadError("cut"))
    with pytest.raises(Unavailable, match="broke"):
        [one async for one in client.rollouts([ROW])]
    assert len(seen) == 1
    whole = frame()
    client, seen, _ = client_over(httpx.ConnectError("no"), httpx.Response(200, content=whole + whole[:20]))
    got = []
    with pytest.raises(Unavailable, match="broke off"):
        async for played in client.rollouts([ROW]):
            got.append(played)
    assert len(got) == 1 and len(seen) == 2
    client, _, _ = client_over(httpx.Response(200, content=pack_frame(b'{"no": 1}')))
    with pytest.raises(RemoteError, match="no rollout"):
        [one async for one in client.rollouts([ROW])]


async def test_nobody_there_and_no_address() -> None:
    client, seen, _ = client_over(*[httpx.ConnectError("refused")] * 4)
    with pytest.raises(Unavailable, match="nobody answers"):
        await client.environments()
    assert len(seen) == 4
    with pytest.raises(BadRequest, match="not an address"):
        AsyncClient("localhost:8100")


async def test_the_token_travels_in_its_header() -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json={"environments": [dict(request.headers)]}))
    async with AsyncClient("http://agent", token="hush", transport=transport) as client:
        (headers,) = await client.environments()
    assert headers["authorization"] == "Bearer hush"
