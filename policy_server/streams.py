"""The generating routes with `stream: true`: which events each API sends, from the deltas of the backend."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import replace
from typing import Any

import numpy as np
from aiohttp import web

from gym_core.errors import PalaestraError
from policy_server.answers import Answer, Turn, fresh_id, take_turn
from policy_server.chat_completions import ChatParams, include_usage, logprob_list, message_of, usage_of
from policy_server.completions import CompletionParams, complete, logprob_columns, text_of
from policy_server.events import Deltas, Events, LiveContent, response_events
from policy_server.prompts import Conversation, Prompts
from policy_server.requests import Backend, GenerateRequest


async def replay_response(request: web.Request, response: dict[str, Any]) -> web.StreamResponse:
    """A whole Responses object as its events."""
    events = Events(request)
    for name, data in response_events(response):
        await events.send(data, name)
    return await events.close(done=False)


async def stream_chat(
    request: web.Request,
    backend: Backend,
    prompts: Prompts,
    conversation: Conversation,
    generate: GenerateRequest,
    params: ChatParams,
) -> web.StreamResponse:
    """chat.completion.chunk events: text as it comes where it needs no parsing, the rest when the reply is whole."""
    events = Events(request)
    head = {"id": fresh_id("chatcmpl"), "object": "chat.completion.chunk", "created": int(time.time())}
    head["model"] = backend.model_name
    live: dict[int, LiveContent] = defaultdict(LiveContent)
    plain = not (conversation.tools or conversation.options.enable_thinking)

    async def send(index: int, delta: dict[str, Any], **more: Any) -> None:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None} | more
        await events.send(head | {"choices": [choice]})

    async with Deltas() as deltas:
        deltas.run(take_turn(backend, prompts, conversation, replace(generate, on_delta=deltas.put)))
        async for delta in deltas:
            if plain and (text := live[delta.index].push(delta.text)):
                await send(delta.index, {"role": "assistant", "content": text})
        try:
            turn: Turn = await deltas.result()
        except PalaestraError as error:
            return await _broken(events, error)
    for index, answer in enumerate(turn.answers):
        await send(index, {"role": "assistant"} | _rest(answer, live[index].num_sent))
        logprobs = {"content": logprob_list(answer.sample, params, prompts)} if params.logprobs else None
        await send(index, {}, finish_reason=answer.finish_reason, logprobs=logprobs)
    if include_usage(params):
        usage = usage_of(turn.num_prompt_tokens, turn.num_sampled_tokens)
        await events.send(head | {"choices": [], "usage": usage})
    return await events.close()


def _rest(answer: Answer, num_sent: int) -> dict[str, Any]:
    """The message without what was shown of its text; calls numbered as chunks need them."""
    message = message_of(answer)
    message["content"] = answer.content[num_sent:]
    if answer.tool_calls:
        message["tool_calls"] = [{"index": i, **call} for i, call in enumerate(message["tool_calls"])]
    return message


async def stream_completion(
    request: web.Request,
    backend: Backend,
    prompts: Prompts,
    tokens: list[np.ndarray],
    generate: GenerateRequest,
    params: CompletionParams,
) -> web.StreamResponse:
    """text_completion events: text as it is sampled; prompts of one request one after the other."""
    events = Events(request)
    head = {"id": fresh_id("cmpl"), "object": "text_completion", "created": int(time.time())}
    head["model"] = backend.model_name

    async def send(index: int, text: str, **more: Any) -> None:
        choice = {"index": index, "text": text, "logprobs": None, "finish_reason": None} | more
        await events.send(head | {"choices": [choice]})

    num_sampled = 0
    for number, ids in enumerate(tokens):
        seed = None if generate.seed is None else generate.seed + number * generate.n
        sent: dict[int, int] = defaultdict(int)
        first = number * generate.n
        async with Deltas() as deltas:
            deltas.run(complete(backend, [ids], replace(generate, seed=seed, on_delta=deltas.put)))
            async for delta in deltas:
                if delta.text:
                    sent[delta.index] += len(delta.text)
                    await send(first + delta.index, delta.text)
            try:
                [result] = await deltas.result()
            except PalaestraError as error:
                return await _broken(events, error)
        for index, sample in enumerate(result.samples):
            logprobs = None if params.logprobs is None else logprob_columns(sample, params, prompts)
            rest = text_of(sample, prompts)[sent[index] :]
            await send(first + index, rest, finish_reason=sample.finish_reason, logprobs=logprobs)
        num_sampled += sum(len(sample.token_ids) for sample in result.samples)
    if (params.stream_options or {}).get("include_usage"):
        await events.send(head | {"choices": [], "usage": usage_of(sum(map(len, tokens)), num_sampled)})
    return await events.close()


async def _broken(events: Events, error: PalaestraError) -> web.StreamResponse:
    """Before the first event the error is the reply; after it, the last event."""
    if not events.response.prepared:
        raise error
    await events.send({"error": {"message": str(error.info()), "type": "server_error", "code": error.code}})
    return await events.close()
