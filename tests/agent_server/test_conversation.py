"""Several turns: what the user hears and says, what is trained on, how a dialogue ends or fails."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from aiohttp import web
from fakes import FakeEnvironment, FakePolicy, call, message

from environments.banking.environment import Banking
from gym_core import headers
from gym_core.contracts import Outcome, Rollout
from gym_core.generate import make_tasks
from gym_core.judge.config import JudgeConfig
from gym_core.registry import Registry
from gym_core.serve import start
from gym_core.server import build_app
from gym_core.tokens import FRAME_TYPE, decode_trace
from gym_core.tools import USER_TURN

ROW: dict[str, Any] = {
    "environment": "fake",
    "responses_create_params": {
        "input": [{"role": "user", "content": "hi"}],
        "tools": [{"type": "function", "name": "add", "parameters": {}}],
    },
}


async def run_frame(house: Any, row: dict[str, Any] = ROW, **options: Any) -> tuple[Rollout, bytes]:
    reply = await house.client.post("/run", {**row, "palaestra": options}, headers={"Accept": FRAME_TYPE})
    head, blob = reply.frame()
    return msgspec.json.decode(head, type=Rollout), bytes(blob)


def said(request: dict[str, Any]) -> list[str]:
    """Roles and kinds of what the policy was sent."""
    return [item.get("role") or item["type"] for item in request["request"]["input"]]


async def test_the_policy_and_the_user_take_turns_until_the_user_leaves(house: Any) -> None:
    policy = FakePolicy([message("which one?")], [call("add", "{}")], [message("done")], [message("bye")])
    made = await house(policy, FakeEnvironment(max_steps=9, user=("the red one", "thanks")))
    rollout, _ = await run_frame(made)
    assert rollout.outcome is Outcome.SCORED and rollout.reward == 1.0
    kinds = [item.get("role") or item["type"] for item in rollout.output]
    assert kinds == [
        *("assistant", "user"),
        *("function_call", "function_call_output", "assistant", "user"),
        "assistant",
    ]
    assert [item["content"] for item in rollout.output if item.get("role") == "user"] == ["the red one", "thanks"]
    assert (rollout.usage.turns, rollout.usage.user_turns, rollout.usage.tool_calls) == (4, 2, 1)
    assert said(policy.requests[1]) == ["user", "assistant", "user"]
    # The user hears the words of the turn that ended, nothing of the calls before them.
    assert [output for _, output in made.environment.heard] == [
        [message(text)] for text in ("which one?", "done", "bye")
    ]


async def test_what_the_user_says_is_never_trained_on(house: Any) -> None:
    policy = FakePolicy([message("which one?")], [message("bye")])
    rollout, blob = await run_frame(await house(policy, FakeEnvironment(user=("the red one",))))
    trace = decode_trace(blob)
    assert len(rollout.traces) == 1
    assert trace.loss_mask.tolist() == [False, False, True, True, True] * 2
    assert policy.requests[1]["num_previous_items"] == 2  # the prompt and the first words; the user's are new


async def test_a_user_whose_words_rewrite_the_history_begins_a_second_trace(house: Any) -> None:
    policy = FakePolicy([message("one")], [message("two")], [message("three")])
    policy.began = lambda turn: ("start", "history_rewritten", "")[turn]
    rollout, _ = await run_frame(await house(policy, FakeEnvironment(user=("a", "b"))))
    assert [trace.began for trace in rollout.traces] == ["start", "history_rewritten"]
    assert [trace.num_trainable for trace in rollout.traces] == [3, 6]


async def test_a_dialogue_is_told_again_with_the_tokens_of_every_turn(house: Any) -> None:
    made = await house(FakePolicy([message("one")], [message("two")]), FakeEnvironment(user=("go on",)))
    row = {**ROW, "palaestra": {"rollout_id": "r1"}}
    first = await made.client.post_json("/run", row)
    again = await made.client.post_json("/run", row)
    for reply in (first, again):
        carrying = [n for n, item in enumerate(reply["response"]["output"]) if "generation_token_ids" in item]
        assert carrying == [0, 2]
    assert first["response"]["output"] == again["response"]["output"]
    assert len(made.policy.requests) == 2


async def test_where_nobody_talks_nobody_is_asked(house: Any) -> None:
    made = await house(FakePolicy([message("4")]))
    await run_frame(made)
    assert made.environment.heard == []


async def test_the_caller_may_bound_the_users_messages(house: Any) -> None:
    made = await house(FakePolicy([message("hm")]), FakeEnvironment(max_steps=9, user=("a", "b", "c")))
    rollout, _ = await run_frame(made, max_turns=2)
    assert rollout.outcome is Outcome.TRUNCATED
    assert rollout.usage.user_turns == 1 and len(made.environment.heard) == 1


async def test_max_steps_bounds_the_policys_turns_of_a_whole_dialogue(house: Any) -> None:
    made = await house(FakePolicy([message("hm")]), FakeEnvironment(max_steps=3, user=("a",) * 8))
    rollout, _ = await run_frame(made)
    assert rollout.outcome is Outcome.TRUNCATED and rollout.usage.turns == 3


async def test_a_user_who_leaves_after_the_last_step_ends_the_dialogue_in_time(house: Any) -> None:
    made = await house(FakePolicy([message("hm")]), FakeEnvironment(max_steps=2, user=("a",)))
    rollout, _ = await run_frame(made)
    assert rollout.outcome is Outcome.SCORED and rollout.usage.turns == 2


async def test_a_cut_turn_reaches_no_user(house: Any) -> None:
    policy = FakePolicy([message("hm")])
    policy.finish_reason = "length"
    made = await house(policy, FakeEnvironment(user=("a",)))
    rollout, _ = await run_frame(made)
    assert rollout.outcome is Outcome.TRUNCATED and made.environment.heard == []


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"error": {"code": "environment_fault", "message": "the user fell over"}}, 500, "fell over"),
        ({"message": 7}, 200, "cannot be read"),
        ({"turn": 1}, 200, "cannot be read"),
    ],
)
async def test_a_user_that_fails_is_an_error_without_a_reward(
    house: Any, body: dict[str, Any], status: int, words: str
) -> None:
    environment = FakeEnvironment(user=("a",))

    async def fail(_: web.Request) -> web.Response:
        return web.json_response(body, status=status)

    environment.on_user = fail
    made = await house(FakePolicy([message("hm")]), environment)
    rollout, _ = await run_frame(made)
    assert rollout.outcome is Outcome.ENV_ERROR and rollout.reward is None
    assert rollout.error is not None and rollout.error.stage == "user" and words in rollout.error.message
    assert environment.closed == ["s1"]


async def test_a_turn_whose_reply_is_lost_is_asked_for_again_under_its_key(house: Any) -> None:
    environment = FakeEnvironment(user=("a",))
    asked: list[str] = []

    async def lose_the_first(request: web.Request) -> web.StreamResponse:
        asked.append(request.headers[headers.IDEMPOTENCY])
        if len(asked) == 1:
            assert request.transport is not None
            request.transport.close()
        return web.json_response({"message": "a" if len(set(asked)) == 1 else None, "turn": len(set(asked))})

    environment.on_user = lose_the_first
    rollout, _ = await run_frame(await house(FakePolicy([message("hm")]), environment))
    assert rollout.outcome is Outcome.SCORED
    assert len(asked) == 3 and asked[0] == asked[1] != asked[2]
    assert rollout.usage.user_turns == 1


async def test_a_user_that_never_answers_is_waited_for_a_bounded_time(house: Any) -> None:
    environment = FakeEnvironment(user=("a",))

    async def wait(_: web.Request) -> web.Response:
        await environment.all_closed.wait()
        return web.json_response({"message": None})

    environment.on_user = wait
    rollout, _ = await run_frame(await house(FakePolicy([message("hm")]), environment, user_s=0.2))
    assert rollout.outcome is Outcome.ENV_ERROR
    assert rollout.error is not None and rollout.error.stage == "user"


async def test_a_whole_dialogue_at_the_bank_earns_its_reward(house: Any) -> None:
    """The oracle's script as the turns of a policy, against the real environment."""
    (task,) = make_tasks(Banking(), seed=4, level=4, count=1)
    script = Banking().oracle(task)
    turns = []
    for number, step in enumerate(script.calls):
        arguments = msgspec.json.encode(step.arguments).decode()
        words = step.name == USER_TURN
        turns.append([message(step.arguments["reply"]) if words else call(step.name, arguments, f"c{number}")])
    policy = FakePolicy(*turns, [message(script.reply)])
    async with await start(build_app([Registry.discover().load("banking")])) as served:
        made = await house(policy, environments={"banking": served.url})
        reply = await made.client.post_json("/run?tokens=0", task.to_row())
    assert (reply["outcome"], reply["reward"]) == ("scored", 1.0), reply["verdict"]
    assert reply["usage"]["user_turns"] == sum(step.name == USER_TURN for step in script.calls)


async def test_a_row_whose_tools_are_only_declared_is_played_to_a_verdict(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model behind customer and tools, a judge at the end."""
    words = iter(["Where is order A-17?", "###STOP###"])

    async def model(request: web.Request) -> web.Response:
        asked = (await request.json())["messages"][0]["content"]
        told = '{"status": "shipped"}' if "computer system" in asked else "[[YES]]"
        said = next(words) if "You play a customer" in asked else told
        return web.json_response({"choices": [{"message": {"role": "assistant", "content": said}}], "usage": {}})

    app = web.Application()
    app.router.add_post("/v1/chat/completions", model)
    tool = {"type": "function", "name": "track", "parameters": {"properties": {"order": {"type": "string"}}}}
    prompt = [{"role": "system", "content": "Serve."}, {"role": "user", "content": "Hello?"}]
    row = {
        "agent_ref": {"type": "responses_api_agents", "name": "conversational_tool_use_agent"},
        "responses_create_params": {"input": prompt, "tools": [tool]},
        "policy": "Track orders before you speak of them.",
        "customer_scenario": {"reason_for_contact": "Where is order A-17?", "outside_policy_scope": False},
    }
    turns = [[message("Hello!")], [call("track", '{"order": "A-17"}')], [message("It is shipped.")]]
    async with await start(app) as played:
        monkeypatch.setenv("PALAESTRA_CUSTOMER_URL", played.url)
        monkeypatch.setenv("PALAESTRA_CUSTOMER_MODEL", "player")
        bank = build_app([Registry.discover().load("banking")], judge=JudgeConfig(base_url=played.url, model="judge"))
        async with await start(bank) as served:
            made = await house(FakePolicy(*turns), environments={"banking": served.url})
            reply = await made.client.post_json("/run?tokens=0", row)
    assert (reply["outcome"], reply["reward"]) == ("scored", 1.0), reply
    kinds = [item.get("role") or item["type"] for item in reply["response"]["output"]]
    assert kinds == ["assistant", "user", "function_call", "function_call_output", "assistant"]
