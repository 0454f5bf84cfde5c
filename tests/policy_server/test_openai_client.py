"""The official client against our routes: what it parses, streams and raises."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from gym_core.client import Client
from model.chat import render
from model.tokenizer import Tokenizer

MESSAGES: list[Any] = [{"role": "user", "content": "What is 2 + 3?"}]
TOOL: Any = {"type": "function", "function": {"name": "lookup", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture
async def official(client: Client) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{client.base_url}/v1", api_key="none", max_retries=0) as official:
        yield official


async def test_models(official: openai.AsyncOpenAI) -> None:
    [listed] = [model async for model in official.models.list()]
    assert listed.id == "palaestra"
    assert await official.models.retrieve("palaestra") == listed
    with pytest.raises(openai.NotFoundError, match="no model 'org/other'"):
        await official.models.retrieve("org/other")


async def test_chat(official: openai.AsyncOpenAI, tokenizer: Tokenizer) -> None:
    reply = await official.chat.completions.create(
        model="palaestra",
        messages=MESSAGES,
        n=2,
        seed=3,
        max_tokens=6,
        logprobs=True,
        extra_body={"return_token_ids": True, "ignore_eos": True},
    )
    assert [choice.index for choice in reply.choices] == [0, 1]
    assert [choice.finish_reason for choice in reply.choices] == ["length", "length"]
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 12
    for choice in reply.choices:
        message: Any = choice.message
        assert message.prompt_token_ids == tokenizer.encode_pieces(render(MESSAGES, enable_thinking=False).pieces)
        assert choice.logprobs is not None
        assert choice.logprobs.content is not None
        assert [entry.logprob for entry in choice.logprobs.content] == message.generation_log_probs
        assert bytes(b for e in choice.logprobs.content for b in e.bytes or []).decode(errors="replace") == (
            tokenizer.decode(message.generation_token_ids)
        )


async def test_chat_is_the_same_for_the_same_seed_and_stream(official: openai.AsyncOpenAI) -> None:
    ask: dict[str, Any] = {"model": "palaestra", "messages": MESSAGES, "seed": 5, "max_tokens": 20, "n": 2}
    whole = await official.chat.completions.create(**ask)
    again = await official.chat.completions.create(**ask)
    texts = [choice.message.content for choice in whole.choices]
    assert texts == [choice.message.content for choice in again.choices]
    shown, finish, usage = ["", ""], ["", ""], None
    async for chunk in await official.chat.completions.create(
        **ask, stream=True, stream_options={"include_usage": True}
    ):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            shown[choice.index] += choice.delta.content or ""
            finish[choice.index] = choice.finish_reason or finish[choice.index]
    assert shown == texts
    assert finish == [choice.finish_reason for choice in whole.choices]
    assert usage == whole.usage


async def test_streaming_with_tools_adds_up_too(official: openai.AsyncOpenAI) -> None:
    ask: dict[str, Any] = {"model": "palaestra", "messages": MESSAGES, "seed": 5, "max_tokens": 20, "tools": [TOOL]}
    whole = await official.chat.completions.create(**ask)
    stream = await official.chat.completions.create(**ask, stream=True)
    shown = "".join([choice.delta.content or "" async for chunk in stream for choice in chunk.choices])
    assert shown == whole.choices[0].message.content


async def test_completions_take_text_and_ids(official: openai.AsyncOpenAI, tokenizer: Tokenizer) -> None:
    ask: dict[str, Any] = {"model": "palaestra", "seed": 2, "max_tokens": 10, "logprobs": 0}
    by_text = await official.completions.create(prompt="What is", **ask)
    by_ids = await official.completions.create(prompt=tokenizer.encode("What is"), **ask)
    assert by_text.choices[0].text == by_ids.choices[0].text
    logprobs = by_text.choices[0].logprobs
    assert logprobs is not None
    assert len(logprobs.token_logprobs or []) == len(logprobs.tokens or []) > 0


async def test_completions_of_several_prompts(official: openai.AsyncOpenAI) -> None:
    ask: dict[str, Any] = {"model": "palaestra", "max_tokens": 4, "n": 2}
    many = await official.completions.create(prompt=["What", "name"], seed=10, **ask)
    one = await official.completions.create(prompt="name", seed=12, **ask)
    assert [choice.index for choice in many.choices] == [0, 1, 2, 3]
    assert [choice.text for choice in many.choices[2:]] == [choice.text for choice in one.choices]


async def test_completions_stream(official: openai.AsyncOpenAI) -> None:
    ask: dict[str, Any] = {"model": "palaestra", "prompt": ["What", "name"], "seed": 3, "max_tokens": 30, "n": 2}
    whole = await official.completions.create(**ask)
    shown: dict[int, str] = {}
    async for chunk in await official.completions.create(**ask, stream=True):
        for choice in chunk.choices:
            shown[choice.index] = shown.get(choice.index, "") + choice.text
    assert shown == {choice.index: choice.text for choice in whole.choices}


async def test_stop_strings_are_cut_off(official: openai.AsyncOpenAI) -> None:
    ask: dict[str, Any] = {"model": "palaestra", "prompt": "What", "seed": 3, "max_tokens": 60}
    text = (await official.completions.create(**ask)).choices[0].text
    at = next(i for i in range(3, len(text) - 2) if text[i : i + 2].isascii() and text.index(text[i : i + 2]) == i)
    choice: Any = (await official.completions.create(**ask, stop=[text[at : at + 2]])).choices[0]
    assert choice.text == text[:at]
    assert (choice.finish_reason, choice.stop_reason) == ("stop", text[at : at + 2])


async def test_responses(official: openai.AsyncOpenAI) -> None:
    ask: dict[str, Any] = {"model": "palaestra", "input": "What is 2 + 3?", "extra_body": {"seed": 4}}
    response = await official.responses.create(**ask)
    assert response.status in ("completed", "incomplete")
    assert response.usage is not None
    events = [event async for event in await official.responses.create(**ask, stream=True)]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == (
        response.output_text
    )
    assert events[-1].type in ("response.completed", "response.incomplete")


async def test_responses_with_logprobs(official: openai.AsyncOpenAI) -> None:
    asked: Any = {"model": "palaestra", "input": "What is 2 + 3?", "max_output_tokens": 8, "temperature": 0}
    reply = await official.responses.create(**asked, top_logprobs=2, include=["message.output_text.logprobs"])
    [message] = [item for item in reply.output if item.type == "message"]
    [content] = message.content
    assert content.type == "output_text" and content.logprobs
    for entry in content.logprobs:
        assert entry.top_logprobs[0].logprob == entry.logprob
        assert len(entry.top_logprobs) == 2
    assert reply.top_logprobs == 2
    told = "".join(entry.token for entry in content.logprobs)
    assert content.text in told
    events = [event async for event in await official.responses.create(**asked, top_logprobs=0, stream=True)]
    [done] = [event for event in events if event.type == "response.output_text.done"]
    assert [entry.logprob for entry in done.logprobs] == [entry.logprob for entry in content.logprobs]
    [added] = [event for event in events if event.type == "response.content_part.added"]
    assert (added.part.text, added.part.logprobs) == ("", [])
    silent = await official.responses.create(**asked)
    assert all(getattr(part, "logprobs", None) is None for part in silent.output[0].content)


async def test_thoughts_and_calls_have_no_logprobs_in_the_message(official: openai.AsyncOpenAI) -> None:
    extra = {"chat_template_kwargs": {"enable_thinking": True}, "thinking_token_budget": 4, "ignore_eos": True}
    asked: Any = {"model": "palaestra", "input": "hi", "max_output_tokens": 9, "top_logprobs": 1}
    reply = await official.responses.create(**asked, extra_body=extra | {"seed": 2})
    [message] = [item for item in reply.output if item.type == "message"]
    assert len(message.content[0].logprobs) <= 5, "four of nine tokens were thoughts"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"truncation": "auto"}, "truncation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"include": ["message.output_text.logprobs", "everything"]}, "include[1]"),
        ({"reasoning": {"effort": "boundless"}}, "reasoning.effort"),
        ({"extra_body": {"n": 2}}, "n"),
    ],
)
async def test_bad_response_fields_are_named(official: openai.AsyncOpenAI, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await official.responses.create(**{"model": "palaestra", "input": "x", **fields})
    assert caught.value.param == param


async def test_what_asks_for_nothing_passes(official: openai.AsyncOpenAI) -> None:
    response = await official.responses.create(
        model="palaestra",
        input="x",
        max_output_tokens=4,
        store=True,
        truncation="disabled",
        background=False,
        include=["reasoning.encrypted_content", "file_search_call.results"],
        reasoning={"effort": "high"},
        service_tier="auto",
        metadata={"team": "blue"},
        user="somebody",
        extra_body={"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "chat_template_kwargs": {}},
    )
    told: Any = response
    assert (response.truncation, response.metadata, told.store) == ("disabled", {"team": "blue"}, False)


async def test_an_effort_of_none_turns_thinking_off(official: openai.AsyncOpenAI) -> None:
    asked: Any = {"model": "palaestra", "extra_body": {"return_token_ids": True, "chat_template_kwargs": {}}}
    silent = await official.responses.create(input="hi", reasoning={"effort": "none"}, **asked)
    same = await official.chat.completions.create(
        messages=[{"role": "user", "content": "hi"}], reasoning_effort="none", max_tokens=1, **asked
    )
    item: Any = silent.output[-1]
    message: Any = same.choices[0].message
    assert item.prompt_token_ids == message.prompt_token_ids
    assert item.prompt_token_ids[-2:] == [12, 13]  # <think></think>


async def test_max_completion_tokens_is_the_newer_name(official: openai.AsyncOpenAI) -> None:
    asked: Any = {"model": "palaestra", "messages": MESSAGES, "extra_body": {"ignore_eos": True}}
    reply = await official.chat.completions.create(**asked, max_completion_tokens=3, max_tokens=9)
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 3
    with pytest.raises(openai.BadRequestError) as caught:
        await official.chat.completions.create(**asked, max_completion_tokens=0)
    assert caught.value.param == "max_completion_tokens"


async def test_errors_arrive_as_the_clients_own(official: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="no model 'other'"):
        await official.chat.completions.create(model="other", messages=MESSAGES)
    with pytest.raises(openai.BadRequestError) as caught:
        await official.chat.completions.create(model="palaestra", messages=MESSAGES, temperature=-1)
    assert caught.value.param == "temperature"
    with pytest.raises(openai.BadRequestError) as caught:
        await official.chat.completions.create(model="palaestra", messages=MESSAGES, temperature=-1, stream=True)
    assert caught.value.param == "temperature"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
        ({"messages": [{"role": "nobody", "content": "x"}]}, "messages[0].role"),
        ({"n": 0}, "n"),
        ({"top_p": 2}, "top_p"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"top_logprobs": 5}, "top_logprobs"),
        ({"presence_penalty": 2.5}, "presence_penalty"),
        ({"logit_bias": {"word": 1}}, "logit_bias"),
        ({"logit_bias": {"999999": 1}}, "logit_bias"),
        ({"logit_bias": {"9" * 5000: 1}}, "logit_bias"),
        ({"functions": [{"name": "lookup"}]}, "functions"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"reasoning_effort": "boundless"}, "reasoning_effort"),
        ({"extra_body": {"top_k": 20}}, "top_k"),
        ({"extra_body": {"min_p": 0.1}}, "min_p"),
        ({"extra_body": {"min_tokens": 5}}, "min_tokens"),
        ({"extra_body": {"repetition_penalty": 1.2}}, "repetition_penalty"),
        ({"extra_body": {"guided_regex": "a+"}}, "guided_regex"),
        ({"extra_body": {"continue_final_message": True}}, "continue_final_message"),
        ({"response_format": {"type": "json_schema"}}, "response_format.schema"),
        ({"response_format": {"type": "yaml"}}, "response_format"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "other"}}, "tools": [TOOL]}, "tool_choice"),
        ({"tool_choice": "sometimes", "tools": [TOOL]}, "tool_choice"),
        ({"tool_choice": "required", "tools": [TOOL], "response_format": {"type": "json_object"}}, "tool_choice"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].name"),
    ],
)
async def test_bad_chat_fields_are_named(official: openai.AsyncOpenAI, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await official.chat.completions.create(**{"model": "palaestra", "messages": MESSAGES, **fields})
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": []}, "prompt"),
        ({"prompt": [1, "a"]}, "prompt"),
        ({"logprobs": 21}, "logprobs"),
        ({"best_of": 3}, "best_of"),
        ({"suffix": "end"}, "suffix"),
        ({"extra_body": {"use_beam_search": True}}, "use_beam_search"),
    ],
)
async def test_bad_completion_fields_are_named(
    official: openai.AsyncOpenAI, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await official.completions.create(**{"model": "palaestra", "prompt": "x", **fields})
    assert caught.value.param == param
