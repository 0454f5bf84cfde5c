"""Streams of chat and Responses over a policy that says what it is told to: live, in order, the whole in the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import numpy as np
import openai
import pytest

from gym_core.client import Client
from gym_core.errors import PalaestraError, PolicyFault
from gym_core.serve import start
from model.tokenizer import StreamDecoder, Tokenizer
from policy_server.app import build_app
from policy_server.config import PolicyConfig
from policy_server.requests import Delta, GenerateRequest, GenerateResult, Sample

CALL = "<tool_call>\n<function=add>\n<parameter=a>\n2\n</parameter>\n</function>\n</tool_call>"
REPLY = f"first\nthen</think>\n\nIt is <think>again</think>five.\n{CALL}\n{CALL}<|im_end|>"
TOOLS = [{"type": "function", "name": "add", "parameters": {"properties": {"a": {"type": "integer"}}}}]
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "2 + 3?"}]}
CHAT["tools"] = [{"type": "function", "function": TOOLS[0]}]
ASK: dict[str, Any] = {"input": "2 + 3?", "tools": TOOLS}


class Scripted:
    """A backend that says `text` token by token; it pauses after `pause_after` tokens until `go`, or breaks there."""

    model_name, max_length, version = "palaestra", 4096, 3

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.text, self.fault = REPLY, None
        self.pause_after, self.go = -1, asyncio.Event()
        self.fault: PalaestraError | None

    async def generate(self, request: GenerateRequest) -> GenerateResult:
        tokens = self._tokenizer.encode(self.text)
        decoder = StreamDecoder(self._tokenizer, skip_special=True)
        for number, token in enumerate(tokens):
            if number == self.pause_after:
                if self.fault is not None:
                    raise self.fault
                await self.go.wait()
            if request.on_delta is not None:
                request.on_delta(Delta(0, [token], [-0.5], decoder.push(token)))
                await asyncio.sleep(0)
        sample = Sample(
            token_ids=np.array(tokens, np.int32),
            logprobs=np.full(len(tokens), -0.5, np.float32),
            versions=np.full(len(tokens), 3, np.int32),
            finish_reason="stop",
        )
        return GenerateResult(samples=[sample], prompt_token_ids=np.asarray(request.prompt_token_ids))

    async def close(self) -> None:
        pass


@pytest.fixture
def scripted(tokenizer: Tokenizer) -> Scripted:
    return Scripted(tokenizer)


@pytest.fixture
async def client(scripted: Scripted, tokenizer: Tokenizer) -> AsyncIterator[Client]:
    async with (
        await start(build_app(scripted, tokenizer, PolicyConfig(checkpoint="none"))) as served,
        Client(served.url) as client,
    ):
        yield client


async def events(client: Client, path: str, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Events as they come."""
    async with aiohttp.ClientSession() as session, session.post(f"{client.base_url}{path}", json=body) as reply:
        assert reply.status == 200, await reply.text()
        assert reply.content_type == "text/event-stream"
        async for line in reply.content:
            if line.startswith(b"data: {"):
                yield msgspec.json.decode(line[6:])


async def test_a_chat_stream_adds_up_to_the_whole_reply(client: Client, tokenizer: Tokenizer) -> None:
    body = CHAT | {"return_token_ids": True, "logprobs": True}
    whole = (await client.post_json("/v1/chat/completions", body))["choices"][0]
    streamed = body | {"stream": True, "stream_options": {"include_usage": True}}
    *chunks, last = [event async for event in events(client, "/v1/chat/completions", streamed)]
    choices = [chunk["choices"][0] for chunk in chunks]
    assert choices[0]["delta"] == {"role": "assistant", "content": ""}
    assert not any("role" in choice["delta"] for choice in choices[1:])
    message = whole["message"]
    for field in ("content", "reasoning_content"):
        assert "".join(choice["delta"].get(field, "") for choice in choices) == (message[field] or "")
    calls = [call for choice in choices for call in choice["delta"].get("tool_calls", [])]
    assert [(call["index"], call["function"]) for call in calls] == [
        (i, call["function"]) for i, call in enumerate(message["tool_calls"])
    ]
    ending = choices[-1]
    assert [choice["finish_reason"] for choice in choices[:-1]] == [None] * (len(choices) - 1)
    assert ending["delta"].pop("generation_token_ids") == message["generation_token_ids"]
    assert {name: ending[name] for name in ("finish_reason", "stop_reason", "logprobs", "token_ids")} == {
        name: whole[name] for name in ("finish_reason", "stop_reason", "logprobs", "token_ids")
    }
    assert [chunk["usage"] for chunk in chunks] == [None] * len(chunks)
    assert last["choices"] == []
    thoughts = tokenizer.encode("first\nthen</think>") + tokenizer.encode("<think>again</think>")
    assert last["usage"]["completion_tokens_details"] == {"reasoning_tokens": len(thoughts)}


async def test_a_responses_stream_tells_item_after_item(client: Client) -> None:
    whole = await client.post_json("/v1/responses", ASK)
    told = [event async for event in events(client, "/v1/responses", ASK | {"stream": True})]
    assert [event["sequence_number"] for event in told] == list(range(len(told)))
    *_, last = told
    assert last["type"] == "response.completed"
    assert last["response"]["id"] == told[0]["response"]["id"]
    items, text = [], ""
    for event in told[2:-1]:
        match event["type"].removeprefix("response."):
            case "output_item.added":
                assert (event["output_index"], text) == (len(items), "")
            case "output_text.delta" | "reasoning_summary_text.delta" | "function_call_arguments.delta":
                text += event["delta"]
            case "output_text.done" | "reasoning_summary_text.done":
                assert event["text"] == text
            case "function_call_arguments.done":
                assert event["arguments"] == text
            case "output_item.done":
                assert event["output_index"] == len(items)
                items.append(event["item"])
                text = ""
    assert items == last["response"]["output"]
    kinds = [item["type"] for item in items]
    assert kinds == ["reasoning", "message", "reasoning", "function_call", "function_call"]
    thoughts = [item["summary"][0]["text"] for item in items if item["type"] == "reasoning"]
    assert thoughts == ["first\nthen", "again"]
    assert whole["output"][0]["summary"][0]["text"] == "\n".join(thoughts)
    assert items[1]["content"][0]["text"] == whole["output"][1]["content"][0]["text"] == "It is five."


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [("/v1/chat/completions", CHAT, "reasoning_content"), ("/v1/responses", ASK, "delta")],
)
async def test_a_thought_is_told_before_the_reply_is_whole(
    client: Client, scripted: Scripted, path: str, body: dict[str, Any], field: str
) -> None:
    scripted.pause_after = 5
    stream = events(client, path, body | {"stream": True})
    async with asyncio.timeout(60):
        async for event in stream:
            if field in event or field in (event.get("choices") or [{"delta": {}}])[0]["delta"]:
                break
        else:
            pytest.fail("the stream ended")
        assert not scripted.go.is_set()
        scripted.go.set()
        assert [event async for event in stream]


async def test_a_chat_that_breaks_ends_with_an_error_in_openais_shape(client: Client, scripted: Scripted) -> None:
    scripted.pause_after, scripted.fault = 5, PolicyFault("it broke", stage="decode")
    *_, last = [event async for event in events(client, "/v1/chat/completions", CHAT | {"stream": True})]
    error = last["error"]
    assert (error["message"], error["type"], error["code"], error["param"]) == (
        "it broke",
        "server_error",
        "policy_fault",
        None,
    )
    async with openai.AsyncOpenAI(base_url=f"{client.base_url}/v1", api_key="none", max_retries=0) as official:
        asked: Any = CHAT | {"model": "palaestra"}
        with pytest.raises(openai.APIError, match="it broke"):
            async for _ in await official.chat.completions.create(**asked, stream=True):
                pass


async def test_a_response_that_breaks_says_failed(client: Client, scripted: Scripted) -> None:
    scripted.pause_after, scripted.fault = 5, PolicyFault("it broke", stage="decode")
    *_, last = [event async for event in events(client, "/v1/responses", ASK | {"stream": True})]
    assert last["type"] == "response.failed"
    assert last["response"]["status"] == "failed"
    assert last["response"]["error"] == {"code": "server_error", "message": "it broke"}


@pytest.mark.parametrize(("path", "body"), [("/v1/chat/completions", CHAT), ("/v1/responses", ASK)])
async def test_what_fails_before_the_first_token_is_an_error_reply(
    client: Client, scripted: Scripted, path: str, body: dict[str, Any]
) -> None:
    scripted.pause_after, scripted.fault = 0, PolicyFault("it broke", stage="prefill")
    with pytest.raises(PolicyFault, match="it broke"):
        await client.post_json(path, body | {"stream": True})


async def test_one_call_where_no_more_are_allowed(client: Client) -> None:
    reply = await client.post_json("/v1/chat/completions", CHAT | {"parallel_tool_calls": False})
    message = reply["choices"][0]["message"]
    assert len(message["tool_calls"]) == 1
    assert message["content"] == f"It is five.\n{CALL}", "what was said is not lost"


async def test_the_official_helpers_make_whole_replies(client: Client, scripted: Scripted) -> None:
    scripted.text = "so</think>It is 5.<|im_end|>"
    async with openai.AsyncOpenAI(base_url=f"{client.base_url}/v1", api_key="none", max_retries=0) as official:
        asked: Any = {"model": "palaestra"}
        async with official.chat.completions.stream(messages=CHAT["messages"], **asked) as chat:
            message: Any = (await chat.get_final_completion()).choices[0].message
        assert (message.role, message.content, message.reasoning_content) == ("assistant", "It is 5.", "so")
        async with official.responses.stream(input="2 + 3?", **asked) as response:
            assert (await response.get_final_response()).output_text == "It is 5."
