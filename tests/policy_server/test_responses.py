"""/v1/responses in JSON and as frames, through a served app."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import aiohttp
import msgspec
import numpy as np
import pytest

from gym_core.client import Client
from gym_core.errors import BadRequest, PalaestraError, UnknownName
from gym_core.tokens import FRAME_TYPE, TokenTrace, decode_trace, encode_segment, pack_frame
from model.chat import render
from model.tokenizer import Tokenizer
from policy_server.engine import Engine

TOOLS = [
    {
        "type": "function",
        "name": "lookup",
        "description": "Find a user",
        "parameters": {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]},
    }
]
ASK = {"input": [{"role": "user", "content": "What is 2 + 3?"}], "seed": 1, "max_output_tokens": 8}


async def turn(client: Client, request: dict[str, Any], trace: bytes = b"", num_items: int = 0) -> tuple[dict, bytes]:
    head = msgspec.json.encode({"request": request, "num_previous_items": num_items})
    reply = await client.post("/v1/responses", pack_frame(head, trace), {"Content-Type": FRAME_TYPE})
    answer, blob = reply.frame()
    return msgspec.json.decode(answer), bytes(blob)


async def test_text_in_response_object_out(client: Client) -> None:
    body = await client.post_json("/v1/responses", ASK | {"instructions": "Be brief."})
    assert body["object"] == "response"
    assert body["output"][-1]["type"] == "message"
    assert body["usage"]["output_tokens"] <= 8
    assert body["usage"]["total_tokens"] == body["usage"]["input_tokens"] + body["usage"]["output_tokens"]
    assert body["instructions"] == "Be brief."


async def test_the_prompt_is_the_rendered_conversation(client: Client, tokenizer: Tokenizer) -> None:
    body = await client.post_json("/v1/responses", ASK | {"tools": TOOLS, "return_token_ids": True})
    want = tokenizer.encode_pieces(render(ASK["input"], TOOLS, enable_thinking=False).pieces)
    assert body["output"][-1]["prompt_token_ids"] == want


async def test_cut_by_length_is_incomplete(client: Client) -> None:
    body = await client.post_json("/v1/responses", ASK | {"ignore_eos": True})
    assert body["status"] == "incomplete"
    assert body["incomplete_details"] == {"reason": "max_output_tokens"}


async def test_json_token_bundle_equals_the_segment(client: Client) -> None:
    body = await client.post_json("/v1/responses", ASK | {"return_token_ids": True})
    head, blob = await turn(client, ASK)
    trace, item = decode_trace(blob), body["output"][-1]
    assert item["prompt_token_ids"] + item["generation_token_ids"] == trace.token_ids.tolist()
    assert item["generation_log_probs"] == pytest.approx(trace.logprobs[trace.loss_mask].tolist())
    assert item["policy_version"] == head["policy_version_min"] == head["policy_version_max"] == 0


async def test_a_first_segment(client: Client) -> None:
    head, blob = await turn(client, ASK)
    trace = decode_trace(blob)
    num_prompt = head["response"]["usage"]["input_tokens"]
    assert head["began"] == "start"
    assert not trace.loss_mask[:num_prompt].any()
    assert trace.loss_mask[num_prompt:].all()
    assert (trace.versions == np.where(trace.loss_mask, 0, -1)).all()
    assert trace.spans[0] == ("prompt", 0, num_prompt)
    assert sum(end - start for _, start, end in trace.spans) == len(trace)


async def test_the_second_turn_appends_to_the_trace(
    client: Client, tokenizer: Tokenizer, full_logprobs: Any, engine: Engine
) -> None:
    head, first = await turn(client, ASK)
    history = [*ASK["input"], *head["response"]["output"]]
    more = [*history, {"role": "user", "content": "And 3 + 2?"}]
    head, second = await turn(client, ASK | {"input": more}, first, len(history))
    assert head["began"] == ""
    trace = decode_trace(first + second)
    start = len(decode_trace(first))
    added = tokenizer.decode(trace.token_ids[start:][~trace.loss_mask[start:]].tolist())
    assert added.endswith("<|im_start|>user\nAnd 3 + 2?<|im_end|>\n<|im_start|>assistant\n<think></think>")
    assert added.split("<|im_start|>")[0] in ("\n", "<|im_end|>\n")
    want = np.array([0.0, *full_logprobs(trace.token_ids.tolist())])
    assert trace.logprobs[trace.loss_mask] == pytest.approx(want[trace.loss_mask], abs=1e-5)


async def test_tool_results_continue_the_trace(client: Client, tokenizer: Tokenizer) -> None:
    """The policy's call is written by hand here: what it says is the agent's to send back, its tokens stay."""
    ask = ASK | {"tools": TOOLS}
    prompt = tokenizer.encode_pieces(render(ask["input"], TOOLS, enable_thinking=False).pieces)
    said = "<tool_call>\n<function=lookup>\n<parameter=id>\n7\n</parameter>\n</function>\n</tool_call><|im_end|>"
    ids = np.array([*prompt, *tokenizer.encode(said)], np.int32)
    mask = np.arange(len(ids)) >= len(prompt)
    trace = encode_segment(TokenTrace(ids, np.zeros(len(ids), np.float32), mask, np.where(mask, 0, -1)))
    call = {"type": "function_call", "call_id": "c1", "name": "lookup", "arguments": '{"id": 7}'}
    result = {"type": "function_call_output", "call_id": "c1", "output": "Ada"}
    items = [*ask["input"], call]
    head, segment = await turn(client, ask | {"input": [*items, result]}, trace, len(items))
    new = decode_trace(segment)
    assert head["began"] == ""
    assert tokenizer.decode(new.token_ids[~new.loss_mask].tolist()) == (
        "\n<|im_start|>user\n<tool_response>\nAda\n</tool_response>\n<|im_end|>\n<|im_start|>assistant\n<think></think>"
    )


async def test_json_history_with_bundles_is_continued_too(client: Client) -> None:
    first = await client.post_json("/v1/responses", ASK | {"return_token_ids": True})
    bundle = first["output"][-1]
    more = [*ASK["input"], *first["output"], {"role": "user", "content": "And 3 + 2?"}]
    second = await client.post_json("/v1/responses", ASK | {"input": more, "return_token_ids": True})
    whole = bundle["prompt_token_ids"] + bundle["generation_token_ids"]
    assert second["output"][-1]["prompt_token_ids"][: len(whole)] == whole


async def test_a_rewritten_history_begins_a_new_trace(client: Client) -> None:
    """A new user message makes the template drop the reasoning before it."""
    ask = ASK | {"chat_template_kwargs": {"enable_thinking": True}, "max_output_tokens": 3}
    _, first = await turn(client, ask)
    reasoning = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "so"}]}
    history = [*ask["input"], reasoning, {"role": "assistant", "content": "five"}]
    head, second = await turn(
        client, ask | {"input": [*history, {"role": "user", "content": "ok"}]}, first, len(history)
    )
    assert head["began"] == "history_rewritten"
    assert len(decode_trace(second)) == head["response"]["usage"]["total_tokens"]


async def test_items_that_reach_into_the_last_turn_begin_a_new_trace(client: Client) -> None:
    head, first = await turn(client, ASK)
    history = [*ASK["input"], *head["response"]["output"]]
    call = {"type": "function_call", "call_id": "c", "name": "x", "arguments": "{}"}
    result = {"type": "function_call_output", "call_id": "c", "output": "1"}
    head, _ = await turn(client, ASK | {"input": [*history, call, result]}, first, len(history))
    assert head["began"] == "history_rewritten"


async def test_thinking_spans(client: Client) -> None:
    ask = ASK | {"chat_template_kwargs": {"enable_thinking": True}, "ignore_eos": True}
    head, blob = await turn(client, ask)
    trace = decode_trace(blob)
    assert [kind for kind, _, _ in trace.spans][:2] == ["prompt", "think"]
    assert head["response"]["usage"]["output_tokens_details"]["reasoning_tokens"] == trace.span_tokens("think")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"input": 3}, "input"),
        ({"input": []}, "input"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": [{"type": "image"}]}]}, "input[0].content[0]"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": -1}, "temperature"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"tools": [{"type": "web_search"}]}, "tools[0]"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"previous_response_id": "r"}, "previous_response_id"),
        ({"stop": ""}, "stop"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format.schema"),
        ({"chat_template_kwargs": {"enable_thinking": "yes"}}, "chat_template_kwargs.enable_thinking"),
        ({"metadata": {"chat_template_kwargs": "no json"}}, "metadata.chat_template_kwargs"),
    ],
)
async def test_bad_fields_are_named(client: Client, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(BadRequest) as caught:
        await client.post("/v1/responses", ASK | fields)
    assert caught.value.field == field


async def test_an_unknown_model_is_404(client: Client) -> None:
    with pytest.raises(UnknownName, match="no model 'gpt'"):
        await client.post("/v1/responses", ASK | {"model": "gpt"})


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"short", "frame"),
        (pack_frame(b'{"request": {"input": "hi"}}', b"not a segment, but bytes of some length"), "blob"),
        (pack_frame(b'{"request": {"input": "hi"}, "num_previous_items": 1}'), "num_previous_items"),
        (pack_frame(b'{"request": {}}'), "request"),
        (pack_frame(b'{"request": {"input": 1}}'), "request.input"),
    ],
)
async def test_broken_frames_are_refused(client: Client, body: bytes, field: str) -> None:
    with pytest.raises(BadRequest) as caught:
        await client.post("/v1/responses", body, {"Content-Type": FRAME_TYPE})
    assert caught.value.field == field


async def test_a_prompt_that_is_too_long_names_the_numbers(client: Client) -> None:
    with pytest.raises(BadRequest, match=r"\d+ tokens and the context length is 1024"):
        await client.post("/v1/responses", ASK | {"input": "word " * 400})


async def test_the_deadline_header_ends_the_request_and_frees_the_slot(
    client: Client, engine: Engine, model: Any
) -> None:
    held = threading.Event()
    model.before_decode = lambda: held.wait(0.01)  # a slow model: each token takes 10 ms
    body = msgspec.json.encode(ASK | {"max_output_tokens": 100, "ignore_eos": True})
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{client.base_url}/v1/responses", data=body, headers={"X-Palaestra-Deadline": "0.05"}) as reply,
    ):
        assert reply.status == 504
    assert engine.stats["free_slots"] == 8


async def test_a_caller_who_hangs_up_frees_the_slot(client: Client, engine: Engine, model: Any) -> None:
    running, gone = threading.Event(), threading.Event()

    def hold() -> None:
        running.set()
        assert gone.wait(10)

    model.before_decode = hold
    request = asyncio.create_task(client.post("/v1/responses", ASK | {"ignore_eos": True, "max_output_tokens": 1000}))
    assert await asyncio.to_thread(running.wait, 10)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    await client.close()  # the connection itself, too
    gone.set()
    pause = threading.Event()
    model.before_decode = lambda: pause.wait(0.002)  # a thousand tokens would take seconds
    await asyncio.wait_for(_until(lambda: engine.stats["free_slots"] == 8), 10)
    assert engine.stats["sampled_tokens"] < 1000


async def _until(true: Any) -> None:
    while not true():
        await asyncio.sleep(0.001)


async def test_errors_have_openais_shape_and_ours(client: Client) -> None:
    reply = await client.post("/v1/responses", ASK | {"temperature": -1}, check=False)
    error = reply.json()["error"]
    assert reply.status == 400
    assert error["type"] == "invalid_request_error"
    assert error["param"] == error["field"] == "temperature"
    assert error["code"] == "bad_request"
    assert error["server"] == "policy"
    assert error["trace_id"] == reply.headers["X-Palaestra-Trace"]


async def test_a_closed_engine_answers_unavailable(client: Client, engine: Engine) -> None:
    await engine.close()
    with pytest.raises(PalaestraError) as caught:
        await client.post("/v1/responses", ASK, retry=False)
    assert caught.value.code == "unavailable"
