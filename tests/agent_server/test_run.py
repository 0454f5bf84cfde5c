"""One rollout: what comes back, what the peers saw, how it ends."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from aiohttp import web
from fakes import FakeEnvironment, FakePolicy, call, message, segment

from gym_core import headers
from gym_core.contracts import Outcome, Rollout
from gym_core.errors import BadRequest, BadRow, UnknownName
from gym_core.tokens import FRAME_TYPE, decode_trace

ROW: dict[str, Any] = {
    "environment": "fake",
    "responses_create_params": {
        "input": [{"role": "user", "content": "hi"}],
        "tools": [{"type": "function", "name": "add", "parameters": {}}],
    },
    "note": "kept",
}


async def run_frame(house: Any, row: dict[str, Any], **options: Any) -> tuple[Rollout, bytes]:
    body = {**row, "palaestra": options} if options else row
    reply = await house.client.post("/run", body, headers={"Accept": FRAME_TYPE})
    head, blob = reply.frame()
    return msgspec.json.decode(head, type=Rollout), bytes(blob)


async def test_a_single_turn_gives_tokens_reward_and_outcome(house: Any) -> None:
    made = await house(FakePolicy([message("4")]))
    rollout, blob = await run_frame(made, ROW, seed=5, group_id="g1", group_size=4, repeat=2)
    assert rollout.outcome is Outcome.SCORED
    assert rollout.reward == 1.0
    assert rollout.verdict is not None and rollout.verdict.components == {"exact": 1.0}
    assert (rollout.group_id, rollout.group_size, rollout.repeat) == ("g1", 4, 2)
    assert rollout.environment_version == "1.2.3"
    trace = decode_trace(blob)
    assert trace.token_ids.tolist() == [7, 8, 100, 101, 102]
    assert trace.loss_mask.tolist() == [False, False, True, True, True]
    assert (rollout.policy_version_min, rollout.policy_version_max) == (3, 3)


async def test_a_session_is_opened_used_and_closed(house: Any) -> None:
    made = await house(FakePolicy([message("4")]))
    await run_frame(made, ROW)
    assert made.environment.opened == 1
    assert made.environment.closed == ["s1"]
    assert made.environment.verified[0]["session_id"] == "s1"
    assert "responses_create_params" not in made.environment.verified[0]


async def test_a_session_that_ended_with_its_verdict_is_not_closed_again(house: Any) -> None:
    made = await house(FakePolicy([message("4")]))
    asked = []

    async def verify_and_close(request: web.Request) -> web.Response:
        asked.append(request.headers[headers.PREFER])
        return web.json_response({"verdict": {"reward": 1.0}}, headers={headers.APPLIED: headers.CLOSE})

    made.environment.on_verify = verify_and_close
    rollout, _ = await run_frame(made, ROW)
    assert (rollout.outcome, rollout.reward, "session" in rollout.labels) == ("scored", 1.0, False)
    assert asked == [f"{headers.MINIMAL}, {headers.CLOSE}"]
    assert made.environment.closed == []


async def test_without_sessions_the_row_travels_with_verify(house: Any) -> None:
    made = await house(FakePolicy([message("4")]), FakeEnvironment(keeps_sessions=False, tools=()))
    await run_frame(made, ROW)
    assert made.environment.opened == 0
    assert made.environment.verified[0]["note"] == "kept"


async def test_a_tool_loop_extends_one_trace(house: Any) -> None:
    made = await house(FakePolicy([call("add", '{"n": 1}')], [message("done")]))
    rollout, blob = await run_frame(made, ROW)
    assert [item["type"] for item in rollout.output] == ["function_call", "function_call_output", "message"]
    assert rollout.output[1]["output"] == "result 1"
    assert made.environment.calls == [("add", b'{"n": 1}')]
    assert len(rollout.traces) == 1 and rollout.traces[0].num_trainable == 6
    assert len(decode_trace(blob)) == 10
    # The second turn was sent the tokens of the first and how many items they cover.
    assert made.policy.requests[1]["num_previous_items"] == 2
    assert len(decode_trace(made.policy.traces[1])) == 5
    assert rollout.usage.turns == 2 and rollout.usage.tool_calls == 1
    assert (rollout.policy_version_min, rollout.policy_version_max) == (3, 4)


async def test_a_rewritten_history_begins_a_second_trace(house: Any) -> None:
    policy = FakePolicy([call("add", "{}")], [message("done")])
    policy.began = lambda turn: "start" if turn == 0 else "history_rewritten"
    rollout, blob = await run_frame(await house(policy), ROW)
    assert [trace.began for trace in rollout.traces] == ["start", "history_rewritten"]
    second = rollout.traces[1]
    assert len(decode_trace(blob[second.offset : second.offset + second.num_bytes])) == 5


async def test_only_declared_tools_are_dispatched(house: Any) -> None:
    made = await house(FakePolicy([call("verify", "{}"), call("seed_session", "{}", "c2")], [message("done")]))
    rollout, _ = await run_frame(made, ROW)
    assert made.environment.calls == []
    assert "no tool 'verify'" in rollout.output[2]["output"]
    assert rollout.usage.tool_errors == 2


async def test_writes_keep_their_order_and_answers_their_call_ids(house: Any) -> None:
    calls = [call("add", str(n), f"c{n}") for n in range(5)]
    made = await house(FakePolicy(calls, [message("done")]))
    rollout, _ = await run_frame(made, ROW)
    assert [body for _, body in made.environment.calls] == [b"0", b"1", b"2", b"3", b"4"]
    assert [item["call_id"] for item in rollout.output[5:10]] == ["c0", "c1", "c2", "c3", "c4"]


async def test_a_tool_fault_is_read_by_the_policy(house: Any) -> None:
    environment = FakeEnvironment()

    async def fault(_: web.Request) -> web.Response:
        return web.Response(status=422, text="n must be positive", headers={headers.TOOL: "fault"})

    environment.on_tool = fault
    made = await house(FakePolicy([call("add", "{}")], [message("done")]), environment)
    rollout, _ = await run_frame(made, ROW)
    assert rollout.outcome is Outcome.SCORED
    assert rollout.output[1]["output"] == "n must be positive"
    assert rollout.usage.tool_errors == 1


async def test_without_tools_a_function_call_is_the_answer(house: Any) -> None:
    made = await house(FakePolicy([call("add", "{}")]), FakeEnvironment(keeps_sessions=False, tools=()))
    rollout, _ = await run_frame(made, ROW)
    assert rollout.outcome is Outcome.SCORED and rollout.usage.turns == 1
    assert made.environment.verified[0]["response"]["output"][0]["name"] == "add"


async def test_the_loop_is_bounded_and_says_truncated(house: Any) -> None:
    made = await house(FakePolicy([call("add", "{}")]), FakeEnvironment(max_steps=3))
    rollout, _ = await run_frame(made, ROW)
    assert rollout.outcome is Outcome.TRUNCATED
    assert rollout.usage.turns == 3 and rollout.usage.tool_calls == 2
    assert rollout.reward == 1.0  # the state is judged all the same


async def test_a_cut_answer_is_truncated(house: Any) -> None:
    policy = FakePolicy([message("4")])
    policy.finish_reason = "length"
    rollout, _ = await run_frame(await house(policy), ROW)
    assert rollout.outcome is Outcome.TRUNCATED


async def test_the_token_limit_ends_the_loop(house: Any) -> None:
    made = await house(FakePolicy([call("add", "{}")]), max_output_tokens=5)
    rollout, _ = await run_frame(made, ROW)
    assert rollout.outcome is Outcome.TRUNCATED and rollout.usage.turns == 2
    assert made.policy.requests[1]["request"]["max_output_tokens"] == 2


async def test_seeds_differ_by_turn_and_repeat_exactly(house: Any) -> None:
    made = await house(FakePolicy([call("add", "{}")], [message("done")]))
    await run_frame(made, ROW, seed=1)
    await run_frame(made, ROW, seed=1)
    seeds = [request["request"]["seed"] for request in made.policy.requests]
    assert seeds[:2] == seeds[2:] and seeds[0] != seeds[1]


async def test_a_group_verdict_is_awaited(house: Any) -> None:
    environment = FakeEnvironment()
    environment.pending = 3
    rollout, _ = await run_frame(await house(FakePolicy([message("4")]), environment), ROW)
    assert rollout.reward == 0.25


async def _status(status: int) -> Any:
    async def handler(_: web.Request) -> web.Response:
        return web.json_response({"error": {"code": "environment_fault", "message": "boom"}}, status=status)

    return handler


@pytest.mark.parametrize(("hook", "stage"), [("on_seed", "seed"), ("on_tool", "tool"), ("on_verify", "verify")])
async def test_an_environment_that_fails_gives_no_reward(house: Any, hook: str, stage: str) -> None:
    environment = FakeEnvironment()
    setattr(environment, hook, await _status(500))
    rollout, _ = await run_frame(await house(FakePolicy([call("add", "{}")], [message("x")]), environment), ROW)
    assert rollout.outcome is Outcome.ENV_ERROR
    assert rollout.reward is None and rollout.verdict is None
    assert rollout.error is not None and rollout.error.stage == stage
    assert not rollout.outcome.trainable


async def test_a_judge_that_fails_is_a_judge_error(house: Any) -> None:
    environment = FakeEnvironment()

    async def judge(_: web.Request) -> web.Response:
        return web.json_response({"error": {"code": "judge_fault", "message": "no label"}}, status=502)

    environment.on_verify = judge
    rollout, _ = await run_frame(await house(FakePolicy([message("x")]), environment), ROW)
    assert rollout.outcome is Outcome.JUDGE_ERROR and rollout.reward is None


@pytest.mark.parametrize("body", [b"garbage", b"\x02\x00\x00\x00\x00\x00\x00\x00{}", segment([1], [2])])
async def test_a_policy_that_answers_nonsense_is_a_policy_error(house: Any, body: bytes) -> None:
    async def nonsense(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type=FRAME_TYPE)

    made = await house(FakePolicy(nonsense))
    rollout, _ = await run_frame(made, ROW)
    assert rollout.outcome is Outcome.POLICY_ERROR and rollout.reward is None
    assert made.environment.closed == ["s1"]


async def test_broken_tokens_are_a_policy_error(house: Any) -> None:
    from gym_core.tokens import pack_frame

    async def broken(_: web.Request) -> web.Response:
        head = msgspec.json.encode({"response": {"output": [message("4")]}, "began": "start"})
        return web.Response(body=pack_frame(head, segment([1], [2])[:-3]), content_type=FRAME_TYPE)

    rollout, blob = await run_frame(await house(FakePolicy(broken)), ROW)
    assert rollout.outcome is Outcome.POLICY_ERROR and rollout.reward is None and blob == b""


async def test_a_hanging_policy_ends_at_the_deadline(house: Any) -> None:
    async def hang(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    made = await house(FakePolicy(hang))
    rollout, _ = await run_frame(made, ROW, deadline_s=3)
    assert rollout.outcome is Outcome.POLICY_ERROR
    assert rollout.error is not None and rollout.error.code == "deadline_exceeded"
    assert made.environment.closed == ["s1"]


async def test_a_policy_that_is_down_is_a_policy_error(house: Any) -> None:
    made = await house(FakePolicy([message("4")]), max_running=2)
    from agent_server.app import build_app
    from agent_server.config import AgentConfig
    from gym_core.client import Client
    from gym_core.serve import start

    dead = AgentConfig(environments={"fake": made.url}, policy_url="http://127.0.0.1:9", max_running=2)
    async with await start(made.environment.app()) as environment:
        dead = msgspec.structs.replace(dead, environments={"fake": environment.url})
        async with await start(build_app(dead)) as served, Client(served.url) as client:
            reply = await client.post("/run", ROW, headers={"Accept": FRAME_TYPE}, timeout_s=20)
            rollout = msgspec.json.decode(reply.frame()[0], type=Rollout)
    assert rollout.outcome is Outcome.POLICY_ERROR and rollout.reward is None


async def test_the_json_edge_echoes_the_row_and_opens_tokens(house: Any) -> None:
    made = await house(FakePolicy([call("add", "{}")], [message("done")]))
    reply = await made.client.post_json("/run", {**ROW, "_ng_task_index": 3})
    assert reply["note"] == "kept" and reply["_ng_task_index"] == 3
    assert reply["reward"] == 1.0 and reply["outcome"] == "scored"
    output = reply["response"]["output"]
    assert output[0]["prompt_token_ids"] == [7, 8] and output[0]["generation_token_ids"] == [100, 101, 102]
    assert output[2]["prompt_token_ids"] == [7, 8, 100, 101, 102, 7, 8]
    assert output[2]["generation_log_probs"] == [-0.5, -0.5, -0.5]


async def test_a_token_that_the_policy_did_not_choose_stays_in_its_place(house: Any) -> None:
    policy = FakePolicy([message("4")])
    policy.forced = (1,)
    made = await house(policy)
    (item,) = (await made.client.post_json("/run", ROW))["response"]["output"]
    assert (item["prompt_token_ids"], item["generation_token_ids"]) == ([7, 8], [100, 101, 102])
    assert item["generation_loss_mask"] == [True, False, True]
    assert item["generation_log_probs"] == [-0.5, 0.0, -0.5]


@pytest.mark.parametrize("name", ["agent_ref", "task_source"])
async def test_foreign_names_route_by_alias(house: Any, name: str) -> None:
    made = await house(FakePolicy([message("4")]))
    row = {key: value for key, value in ROW.items() if key != "environment"}
    row[name] = {"name": "fake_simple_agent"} if name == "agent_ref" else "fake_simple_agent"
    rollout, _ = await run_frame(made, row)
    assert rollout.environment == "fake" and rollout.reward == 1.0


async def test_bad_input_is_refused_with_the_field(house: Any) -> None:
    made = await house(FakePolicy([message("4")]))
    with pytest.raises(UnknownName, match="no environment 'fakee'") as unknown:
        await made.client.post("/run", {**ROW, "environment": "fakee"})
    assert "fake" in unknown.value.hint
    with pytest.raises(BadRow) as bad:
        await made.client.post("/run", {"environment": "fake", "responses_create_params": {"input": []}})
    assert bad.value.field == "responses_create_params.input"
    with pytest.raises(BadRequest) as options:
        await made.client.post("/run", {**ROW, "palaestra": {"sed": 1}})
    assert "sed" in str(options.value)
    with pytest.raises(BadRequest, match="not JSON"):
        await made.client.post("/run", b"{")


async def test_a_bug_of_ours_is_an_outcome_and_not_the_end_of_the_batch(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agent_server.traces import TraceBook

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(TraceBook, "add", broken)
    made = await house(FakePolicy([message("4")]))
    rollout, _ = await run_frame(made, ROW)
    assert not rollout.outcome.trainable and rollout.reward is None
    assert (
        rollout.error is not None and rollout.error.code == "internal" and "ZeroDivisionError" in rollout.error.message
    )
    assert made.environment.closed == ["s1"]


async def test_calls_beyond_the_bound_are_answered_and_not_made(house: Any) -> None:
    calls = [call("add", "{}", f"c{n}") for n in range(4)]
    made = await house(FakePolicy(calls, [message("done")]), max_tool_calls_per_turn=3)
    rollout, _ = await run_frame(made, ROW)
    assert len(made.environment.calls) == 3
    assert [item["call_id"] for item in rollout.output[4:8]] == ["c0", "c1", "c2", "c3"]
    assert "a turn may make 3 calls" in rollout.output[7]["output"] and rollout.usage.tool_errors == 1
