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
from policy_server.chat_completions import ChatParams, content_logprobs, message_of, usage_of
from policy_server.completions import Asked, CompletionParams, complete, logprob_columns, text_of
from policy_server.echo import NOTHING, Echo, unsampled
from policy_server.events import Deltas, Events, LiveContent, response_events
from policy_server.params import include_usage
from policy_server.prompts import Conversation, Prompts
from policy_server.requests import Backend, GenerateRequest, GenerateResult, Sample


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
    events, with_usage = Events(request), include_usage(params.stream_options)
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
        logprobs = content_logprobs(answer.sample, params, prompts)
        await send(index, {}, finish_reason=answer.finish_reason, logprobs=logprobs)
    if with_usage:
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
    request: web.Request, backend: Backend, prompts: Prompts, asked: Asked
) -> web.StreamResponse:
    """text_completion events: text as it is sampled; prompts of one request one after the other, each repeated before
    its first text where that was asked for."""
    events, params, generate = Events(request), asked.params, asked.generate
    with_usage = include_usage(params.stream_options)
    head = {"id": fresh_id("cmpl"), "object": "text_completion", "created": int(time.time())}
    head["model"] = backend.model_name
    begun: set[int] = set()

    async def send(index: int, text: str, **more: Any) -> None:
        if asked.echoes is not None and index not in begun:
            begun.add(index)
            echo = asked.echoes[index // generate.n]
            await put(index, echo.text, logprobs=_columns(NOTHING, params, prompts, echo))
        await put(index, text, **more)

    async def put(index: int, text: str, **more: Any) -> None:
        choice = {"index": index, "text": text, "logprobs": None, "finish_reason": None} | more
        await events.send(head | {"choices": [choice]})

    num_sampled = 0
    for number, ids in enumerate(asked.prompts):
        seed = None if generate.seed is None else generate.seed + number * generate.n
        sent: dict[int, int] = defaultdict(int)
        first = number * generate.n
        async with Deltas() as deltas:
            one = replace(generate, seed=seed, on_delta=deltas.put)
            deltas.run(_only_prompt(ids, one) if asked.samples_nothing else complete(backend, [ids], one))
            async for delta in deltas:
                if delta.text:
                    sent[delta.index] += len(delta.text)
                    await send(first + delta.index, delta.text)
            try:
                [result] = await deltas.result()
            except PalaestraError as error:
                return await _broken(events, error)
        for index, sample in enumerate(result.samples):
            echo = None if asked.echoes is None else asked.echoes[number]
            rest = text_of(sample, prompts)[sent[index] :]
            logprobs = _columns(sample, params, prompts, echo, after_echo=True)
            await send(first + index, rest, finish_reason=sample.finish_reason, logprobs=logprobs)
        num_sampled += sum(len(sample.token_ids) for sample in result.samples)
    if with_usage:
        usage = usage_of(sum(map(len, asked.prompts)), num_sampled)
        await events.send(head | {"choices": [], "usage": usage})
    return await events.close()


async def _only_prompt(ids: np.ndarray, request: GenerateRequest) -> list[GenerateResult]:
    return unsampled([ids], request.n)


def _columns(
    sample: Sample, params: CompletionParams, prompts: Prompts, echo: Echo | None, *, after_echo: bool = False
) -> dict[str, Any] | None:
    """Columns of an echoed prompt and its sample; with `after_echo` without the prompt's, which were sent."""
    if params.logprobs is None:
        return None
    columns = logprob_columns(sample, params, prompts, echo)
    num_sent = len(echo.token_ids) if after_echo and echo is not None else 0
    return {name: column and column[num_sent:] for name, column in columns.items()}


async def _broken(events: Events, error: PalaestraError) -> web.StreamResponse:
    """Before the first event the error is the reply; after it, the last event."""
    if not events.response.prepared:
        raise error
    await events.send({"error": {"message": str(error.info()), "type": "server_error", "code": error.code}})
    return await events.close()
