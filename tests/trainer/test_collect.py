import asyncio

import msgspec
import numpy as np
import pytest
from aiohttp import web

from gym_core.contracts import ErrorInfo, Outcome, Rollout, Sampling, TraceInfo, Verdict
from gym_core.errors import DeadlineExceeded, PolicyFault, Unavailable
from gym_core.tokens import FRAME_TYPE, NO_VERSION, TokenTrace, encode_segment, pack_frame, unpack_frame
from trainer.collect import AgentPool

ROWS = [{"task_id": "a", "environment": "maths", "extra": 1}, {"task_id": "b", "environment": "json"}]


def segment(ids: list[int], num_sampled: int) -> bytes:
    mask = np.arange(len(ids)) >= len(ids) - num_sampled
    versions = np.where(mask, 4, NO_VERSION)
    return encode_segment(TokenTrace(np.array(ids), np.where(mask, -0.5, 0), mask, versions))


def played(row: dict, outcome: Outcome = Outcome.SCORED) -> bytes:
    """A frame with two traces, the first of two segments."""
    options = row["palaestra"]
    first, second = segment([1, 2, 3], 1) + segment([4, 5], 1), segment([6, 7], 1)
    rollout = Rollout(
        **{key: options[key] for key in ("rollout_id", "run_id", "group_id", "group_size", "repeat", "seed", "step")},
        environment=row["environment"],
        task_id=row["task_id"],
        outcome=outcome,
        verdict=Verdict(reward=1.0) if outcome.trainable else None,
        error=None if outcome.trainable else ErrorInfo(code="environment_fault", message="it broke"),
        traces=[
            TraceInfo(offset=0, num_bytes=len(first), num_tokens=5, num_trainable=2),
            TraceInfo(offset=len(first), num_bytes=len(second), num_tokens=2, num_trainable=1),
        ],
    )
    return pack_frame(msgspec.json.encode(rollout), first + second)


def agent(frames, asked: list[dict] | None = None) -> web.Application:
    """An agent server that answers `frames(rows)`, in any order, in chunks that cut frames in two."""

    async def rollouts(request: web.Request) -> web.StreamResponse:
        rows = (await request.json())["rows"]
        if asked is not None:
            asked.extend(rows)
        response = web.StreamResponse(headers={"Content-Type": FRAME_TYPE})
        await response.prepare(request)
        body = b"".join(frames(rows))
        for at in range(0, len(body), 100):
            await response.write(body[at : at + 100])
        return response

    app = web.Application()
    app.router.add_post("/rollouts", rollouts)
    return app


def pool(client, **options) -> AgentPool:
    return AgentPool(client, run_id="run", seed=7, **options)


async def test_groups_in_order_of_rows_members_in_order_of_repeats(connect) -> None:
    asked: list[dict] = []
    client = await connect(agent(lambda rows: [played(row) for row in reversed(rows)], asked))
    groups = await pool(client).run(ROWS, repeats=3, step=2, sampling=Sampling(temperature=1.0))
    assert [(g.group_id, g.task_id, g.environment) for g in groups] == [
        ("run/train/2/0", "a", "maths"),
        ("run/train/2/1", "b", "json"),
    ]
    assert [[m.rollout.repeat for m in g.members] for g in groups] == [[0, 1, 2]] * 2
    options = [row["palaestra"] for row in asked]
    assert asked[0]["extra"] == 1, "the row travels unchanged"
    assert len({o["rollout_id"] for o in options}) == len({o["seed"] for o in options}) == 6
    assert {(o["group_size"], o["step"], o["sampling"]["temperature"]) for o in options} == {(3, 2, 1.0)}


async def test_traces_are_opened_where_the_rollout_says(connect) -> None:
    client = await connect(agent(lambda rows: [played(row) for row in rows]))
    groups = await pool(client).run(ROWS[:1], repeats=1, step=0, sampling=Sampling())
    first, second = groups[0].members[0].traces
    assert first.token_ids.tolist() == [1, 2, 3, 4, 5]
    assert first.loss_mask.tolist() == [False, False, True, False, True]
    assert second.token_ids.tolist() == [6, 7]


async def test_asking_again_asks_the_same_and_seed_step_alone_fixes_seeds(connect) -> None:
    asked: list[dict] = []
    client = await connect(agent(lambda rows: [played(row) for row in rows], asked))
    agents = pool(client)
    for step, seed_step in ((1, None), (1, None), (2, None), (8, 0), (9, 0)):
        await agents.run(ROWS[:1], repeats=1, step=step, sampling=Sampling(), seed_step=seed_step)
    first, again, other, early, late = (row["palaestra"] for row in asked)
    assert first == again
    assert first["seed"] != other["seed"]
    assert early["seed"] == late["seed"] and early["rollout_id"] != late["rollout_id"]


async def test_a_failed_member_keeps_its_outcome_and_a_lost_one_is_missing(connect) -> None:
    def frames(rows: list[dict]) -> list[bytes]:
        return [played(rows[0]), played(rows[1], Outcome.ENV_ERROR)]

    client = await connect(agent(frames))
    (group,) = await pool(client).run(ROWS[:1], repeats=3, step=0, sampling=Sampling())
    assert [m.rollout.outcome for m in group.members] == [Outcome.SCORED, Outcome.ENV_ERROR]
    assert group.members[1].rollout.reward is None


def not_kept(row: dict) -> bytes:
    (head, _) = unpack_frame(played(row, Outcome.ENV_ERROR))
    error = ErrorInfo(code="store_fault", message="No space left on device", stage="store")
    rollout = msgspec.structs.replace(msgspec.json.decode(head, type=Rollout), error=error, traces=[])
    return pack_frame(msgspec.json.encode(rollout), b"")


async def test_one_that_the_store_refused_is_lost_for_a_resumed_run_would_not_find_it(connect) -> None:
    client = await connect(agent(lambda rows: [played(rows[0]), not_kept(rows[1])]))
    (group,) = await pool(client).run(ROWS[:1], repeats=2, step=0, sampling=Sampling())
    assert [m.rollout.outcome for m in group.members] == [Outcome.SCORED]
    client = await connect(agent(lambda rows: [not_kept(row) for row in rows]))
    with pytest.raises(PolicyFault, match=r"none of 4 rollouts was scored.*No space left"):
        await pool(client).run(ROWS, repeats=2, step=0, sampling=Sampling())


async def test_a_stranger_s_rollout_is_not_taken(connect) -> None:
    def frames(rows: list[dict]) -> list[bytes]:
        stranger = {**rows[0], "palaestra": {**rows[0]["palaestra"], "group_id": "other"}}
        return [played(stranger), played(rows[0])]

    client = await connect(agent(frames))
    (group,) = await pool(client).run(ROWS[:1], repeats=1, step=0, sampling=Sampling())
    assert len(group.members) == 1


async def test_when_all_fail_the_step_stops_with_the_first_reason(connect) -> None:
    client = await connect(agent(lambda rows: [played(row, Outcome.POLICY_ERROR) for row in rows]))
    with pytest.raises(PolicyFault, match=r"none of 4 rollouts was scored.*it broke") as caught:
        await pool(client).run(ROWS, repeats=2, step=0, sampling=Sampling())
    assert caught.value.stage == "collect"


async def test_a_stream_that_breaks_off_is_a_typed_error(connect) -> None:
    client = await connect(agent(lambda rows: [played(rows[0])[:-5]]))
    with pytest.raises(Unavailable) as caught:
        await pool(client).run(ROWS[:1], repeats=1, step=0, sampling=Sampling())
    assert caught.value.stage == "collect"


async def test_an_agent_server_that_is_silent_is_given_up(connect) -> None:
    silent = asyncio.Event()

    async def rollouts(request: web.Request) -> web.Response:
        await silent.wait()
        return web.Response()

    app = web.Application()
    app.router.add_post("/rollouts", rollouts)
    client = await connect(app)
    with pytest.raises(DeadlineExceeded):
        await pool(client, stream_timeout_s=0.2).run(ROWS[:1], repeats=1, step=0, sampling=Sampling())
    silent.set()


class Crowd:
    """An agent server that answers a stream once so many are open, or breaks off the first; it knows who left."""

    def __init__(self, count: int, breaks: bool = False) -> None:
        self.asked: list[list[dict]] = []
        self.left = asyncio.Event()
        self._count, self._breaks = count, breaks
        self._all_there = asyncio.Event()

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/rollouts", self._rollouts)
        return app

    async def _rollouts(self, request: web.Request) -> web.StreamResponse:
        rows = (await request.json())["rows"]
        self.asked.append(rows)
        response = web.StreamResponse(headers={"Content-Type": FRAME_TYPE})
        await response.prepare(request)
        if len(self.asked) == self._count:
            self._all_there.set()
        await self._all_there.wait()
        if self._breaks and rows is not self.asked[0]:
            try:
                await asyncio.Event().wait()
            finally:
                self.left.set()
        for row in rows:
            await response.write(played(row)[: 10 if self._breaks else None])
        return response


async def test_a_batch_goes_to_several_streams_at_once(connect) -> None:
    crowd = Crowd(3)
    groups = await pool(await connect(crowd.app()), streams=3).run(ROWS, repeats=4, step=0, sampling=Sampling())
    assert sorted(map(len, crowd.asked)) == [2, 3, 3]
    assert len({row["palaestra"]["rollout_id"] for rows in crowd.asked for row in rows}) == 8
    assert [[member.rollout.repeat for member in group.members] for group in groups] == [[0, 1, 2, 3]] * 2


async def test_there_are_no_more_streams_than_rows(connect) -> None:
    crowd = Crowd(2)
    await pool(await connect(crowd.app()), streams=9).run(ROWS, repeats=1, step=0, sampling=Sampling())
    assert [len(rows) for rows in crowd.asked] == [1, 1]


async def test_a_stream_that_fails_ends_the_others(connect) -> None:
    crowd = Crowd(2, breaks=True)
    with pytest.raises(Unavailable):
        await pool(await connect(crowd.app()), streams=2).run(ROWS, repeats=2, step=0, sampling=Sampling())
    async with asyncio.timeout(20):
        await crowd.left.wait()
