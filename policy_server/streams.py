"""The generating routes with `stream: true`: which events each API sends, from the deltas of the backend."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from aiohttp import web

from gym_core.errors import PalaestraError
from policy_server.answers import Answer, Turn, fresh_id, take_turn
from policy_server.chat_completions import ChatParams, bundle_of, ending_of, message_of, usage_of, usage_of_turn
from policy_server.completions import Asked, CompletionParams, complete, logprob_columns, text_of, tokens_of
from policy_server.echo import NOTHING, Echo, unsampled
from policy_server.events import Deltas, Events
from policy_server.live import Kind, LiveReply
from policy_server.openai_error import openai_error
from policy_server.params import include_usage
from policy_server.prompts import Conversation, Prompts
from policy_server.requests import Backend, GenerateRequest, GenerateResult, Sample


async def stream_chat(
    request: web.Request,
    backend: Backend,
    prompts: Prompts,
    conversation: Conversation,
    generate: GenerateRequest,
    params: ChatParams,
) -> web.StreamResponse:
    """chat.completion.chunk events: thoughts and text as they come, calls when the reply is whole."""
    events, with_usage = Events(request), include_usage(params.stream_options)
    head = {"id": fresh_id("chatcmpl"), "object": "chat.completion.chunk", "created": int(time.time())}
    head |= {"model": backend.model_name} | ({"usage": None} if with_usage else {})
    prompt = prompts.build(conversation)
    live: dict[int, LiveReply] = {}

    async def send(index: int, delta: dict[str, Any], **more: Any) -> None:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None} | more
        await events.send(head | {"choices": [choice]})

    async def begin(index: int) -> LiveReply:
        if index not in live:
            live[index] = LiveReply(prompt.thinking_open)
            await send(index, {"role": "assistant", "content": ""})
        return live[index]

    async with Deltas() as deltas:
        deltas.run(take_turn(backend, prompts, conversation, replace(generate, on_delta=deltas.put), prompt))
        async for delta in deltas:
            for kind, text in (await begin(delta.index)).push(delta.text):
                await send(delta.index, {_FIELDS[kind]: text})
        try:
            turn: Turn = await deltas.result()
        except PalaestraError as error:
            return await _broken(events, error)
    for index, answer in enumerate(turn.answers):
        if rest := _rest(answer, (await begin(index)).num_shown):
            await send(index, rest)
        await send(index, bundle_of(turn, answer, params), **ending_of(answer, params, prompts))
    if with_usage:
        await events.send(head | {"choices": [], "usage": usage_of_turn(turn)})
    return await events.close()


_FIELDS: dict[Kind, str] = {"think": "reasoning_content", "answer": "content"}


def _rest(answer: Answer, num_shown: Mapping[Kind, int]) -> dict[str, Any]:
    """The message without what was shown of it; calls numbered as chunks need them."""
    message = message_of(answer)
    rest = {
        "reasoning_content": answer.reasoning[num_shown["think"] :],
        "content": answer.content[num_shown["answer"] :],
        "tool_calls": [{"index": i, **call} for i, call in enumerate(message.get("tool_calls", []))],
        "malformed_tool_calls": answer.malformed,
    }
    return {name: value for name, value in rest.items() if value}


async def stream_completion(
    request: web.Request, backend: Backend, prompts: Prompts, asked: Asked
) -> web.StreamResponse:
    """text_completion events: text as it is sampled; prompts of one request one after the other, each repeated before
    its first text where that was asked for."""
    events, params, generate = Events(request), asked.params, asked.generate
    with_usage = include_usage(params.stream_options)
    head = {"id": fresh_id("cmpl"), "object": "text_completion", "created": int(time.time())}
    head |= {"model": backend.model_name} | ({"usage": None} if with_usage else {})
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
            more = tokens_of(ids, sample, params) | {"stop_reason": sample.stop_reason}
            more["logprobs"] = _columns(sample, params, prompts, echo, after_echo=True)
            await send(first + index, rest, finish_reason=sample.finish_reason, **more)
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
    await events.send(openai_error(error.info(), error.status))
    return await events.close()
