"""Options that no rollout can have are refused at the door: nothing is played, and no other row of a batch is lost."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from fakes import FakePolicy, message

from gym_core.errors import BadRequest, BadRow
from gym_core.tokens import FRAME_TYPE, pack_frame

ROW: dict[str, Any] = {"environment": "fake", "responses_create_params": {"input": "hi"}}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("rollout_id", "a\0b"),
        ("rollout_id", "a\r\nX-Injected: 1"),
        ("rollout_id", "x" * 513),
        ("run_id", "run\0"),
        ("group_id", "\x7f"),
        ("step", 2**63),
        ("step", -(2**70)),
        ("seed", 2**63),
        ("seed", -(2**64)),
        ("repeat", 2**63),
        ("group_size", 10**30),
        ("group_size", 0),
        ("repeat", -1),
        ("max_steps", -1),  # no turn at all would be judged as an empty answer: a reward that nobody earned
        ("max_turns", -1),
        ("sampling.temperature", -0.5),
        ("sampling.top_p", 1.5),
        ("sampling.max_output_tokens", 0),
    ],
)
async def test_an_impossible_option_is_refused_before_anything_is_played(house: Any, option: str, value: Any) -> None:
    made = await house(FakePolicy([message("4")]))
    outer, _, inner = option.partition(".")
    bad = {**ROW, "palaestra": {outer: {inner: value} if inner else value}}
    with pytest.raises(BadRequest) as refused:
        await made.client.post("/run", bad)
    assert refused.value.field == f"palaestra.{option}"
    with pytest.raises(BadRequest) as refused:
        await anext(made.client.stream("/rollouts", {"rows": [ROW, bad]}))
    assert refused.value.field == f"rows[1].palaestra.{option}"
    assert made.policy.requests == [] and made.environment.opened == 0


@pytest.mark.parametrize("name", ["a\0", "x" * 513])
async def test_a_task_without_a_name_that_can_be_stored_is_refused(house: Any, name: str) -> None:
    made = await house(FakePolicy([message("4")]))
    with pytest.raises(BadRequest) as refused:
        await made.client.post("/run", {**ROW, "task_id": name})
    assert refused.value.field == "task_id" and made.policy.requests == []


async def test_a_word_about_sampling_that_nobody_knows_is_refused(house: Any) -> None:
    made = await house(FakePolicy([message("4")]))
    with pytest.raises(BadRequest, match="unknown field `temprature`") as refused:
        await made.client.post("/run", {**ROW, "palaestra": {"sampling": {"temprature": 0.0}}})
    assert refused.value.field == "palaestra.sampling" and made.policy.requests == []


@pytest.mark.parametrize("most", ["512", -1, 0, True, 1.5, [5]])
async def test_a_bound_on_tokens_that_is_none_is_the_rows_fault(house: Any, most: Any) -> None:
    made = await house(FakePolicy([message("4")]))
    row = {**ROW, "responses_create_params": {"input": "hi", "max_output_tokens": most}}
    with pytest.raises(BadRow) as refused:
        await made.client.post("/run", row)
    assert refused.value.field == "responses_create_params.max_output_tokens" and made.policy.requests == []


async def test_rows_that_are_nested_without_end_do_not_open_the_circuit(house: Any) -> None:
    made = await house(FakePolicy([message("4")]), breaker_failures=2)
    deep = '{"environment": "fake", "responses_create_params": {"input": "hi"}, "deep": %s}'
    for levels in (127, 200, 500, 900, 970, 976, 980, 2000):
        body = (deep % ("[" * levels + "]" * levels)).encode()
        said = await made.client.post("/run", body, check=False)
        assert said.status == (200 if levels < 128 else 400), (levels, said.body[:200])
    assert (await made.client.post_json("/run", ROW))["outcome"] == "scored"


async def test_an_answer_that_is_nested_without_end_is_the_policys_fault(house: Any) -> None:
    async def answer(_: web.Request) -> web.Response:
        head = '{"response": {"output": [{"type": "message", "content": %s}]}}' % ("[" * 2000 + "]" * 2000)
        return web.Response(body=pack_frame(head.encode(), b""), content_type=FRAME_TYPE)

    made = await house(FakePolicy(answer))
    told = await made.client.post_json("/run", ROW)
    assert told["outcome"] == "policy_error"
    assert "the policy's answer cannot be read" in told["error"]["message"]


@pytest.mark.parametrize("name", ["ünï 日本", "../../etc", "a/b:c#d?e", "x" * 512])
async def test_names_of_any_script_are_taken(house: Any, name: str) -> None:
    made = await house(FakePolicy([message("4")]))
    told = await made.client.post_json("/run", {**ROW, "palaestra": {"rollout_id": name, "run_id": name}})
    assert (told["outcome"], told["rollout_id"]) == ("scored", name)
