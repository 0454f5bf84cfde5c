"""OpenAI's chat completions: messages to a conversation, answers to choices."""

from __future__ import annotations

import time
from typing import Any

from gym_core.errors import BadRequest
from model.chat import tools_from_responses
from policy_server.answers import Answer, Turn, fresh_id
from policy_server.config import PolicyConfig
from policy_server.constraints import calls_constraint, format_constraint, only_one
from policy_server.logprob_list import logprob_list
from policy_server.params import SamplingParams, at_least_one, num_alternatives, render_options, thinking_of
from policy_server.prompts import Conversation, Prompts
from policy_server.requests import GenerateRequest, Sample
from policy_server.responses import bundled_tokens, token_bundle
from policy_server.unserved import CHAT, refuse


class ChatParams(SamplingParams, kw_only=True):
    """Create parameters that this server reads; other fields of the API are ignored."""

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    return_tokens_as_token_ids: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    stream_options: dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    reasoning_effort: Any = None
    functions: Any = None
    function_call: Any = None
    modalities: Any = None
    audio: Any = None
    web_search_options: Any = None
    add_generation_prompt: Any = None
    continue_final_message: Any = None
    chat_template: Any = None
    documents: Any = None
    echo: Any = None
    include_reasoning: Any = None


def generate_request(params: ChatParams, config: PolicyConfig, deadline_s: float) -> GenerateRequest:
    """Sampling of these create parameters. Raises `BadRequest` naming the field."""
    refuse(params, CHAT)
    name = "max_tokens" if params.max_completion_tokens is None else "max_completion_tokens"
    wanted = at_least_one(getattr(params, name), name)
    request = params.request(config, deadline_s, n=1 if params.n is None else params.n, max_tokens=wanted)
    if params.top_logprobs and not params.logprobs:
        raise BadRequest("top_logprobs needs logprobs=true", field="top_logprobs")
    request.num_top_logprobs = num_alternatives(params.top_logprobs, "top_logprobs")
    request.constraint = only_one(
        request.constraint,
        format_constraint(params.response_format, "response_format"),
        calls_constraint(params.tool_choice, tools_of(params.tools), params.parallel_tool_calls),
    )
    return request


def tools_of(tools: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    """Tools as the template takes them. Raises `BadRequest` naming the malformed one."""
    try:
        return tools_from_responses(tools)
    except ValueError as error:
        raise BadRequest(str(error), field=str(error).split(" ", 1)[0]) from None


def conversation_of(params: ChatParams, config: PolicyConfig) -> Conversation:
    """Messages, tools and options; token bundles on earlier assistant messages are continued byte for byte.

    Raises `BadRequest` naming the field.
    """
    if not params.messages:
        raise BadRequest("messages is empty; give at least one message", field="messages")
    tools, barred = tools_of(params.tools), params.tool_choice == "none"
    known, num_known = bundled_tokens(params.messages)
    return Conversation(
        messages=params.messages,
        tools=[] if barred else tools,
        options=render_options(
            config,
            thinking_of(params.reasoning_effort, "reasoning_effort") | (params.chat_template_kwargs or {}),
            params.reasoning_budget,
        ),
        known=known,
        num_known_messages=num_known,
        calls_barred=barred and bool(tools),
        single_call=params.parallel_tool_calls is False,
    )


def completion_object(turn: Turn, params: ChatParams, model: str, prompts: Prompts) -> dict[str, Any]:
    """The chat.completion object."""
    body = {
        "id": fresh_id("chatcmpl"),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [_choice(index, answer, turn, params, prompts) for index, answer in enumerate(turn.answers)],
        "usage": usage_of_turn(turn),
    }
    if params.return_token_ids:
        body["prompt_token_ids"] = turn.prompt.token_ids.tolist()
    return body


def usage_of(num_prompt: int, num_sampled: int) -> dict[str, int]:
    """OpenAI's token counts of one prompt and its samples."""
    return {
        "prompt_tokens": num_prompt,
        "completion_tokens": num_sampled,
        "total_tokens": num_prompt + num_sampled,
    }


def usage_of_turn(turn: Turn) -> dict[str, Any]:
    """Token counts with their details: what needed no computation, what was thought."""
    usage: dict[str, Any] = usage_of(turn.num_prompt_tokens, turn.num_sampled_tokens)
    usage["prompt_tokens_details"] = {"cached_tokens": turn.num_cached}
    usage["completion_tokens_details"] = {"reasoning_tokens": turn.num_reasoning_tokens}
    return usage


def _choice(index: int, answer: Answer, turn: Turn, params: ChatParams, prompts: Prompts) -> dict[str, Any]:
    message = message_of(answer) | bundle_of(turn, answer, params)
    return {"index": index, "message": message, **ending_of(answer, params, prompts)}


def bundle_of(turn: Turn, answer: Answer, params: ChatParams) -> dict[str, Any]:
    """The training tokens of a message, where they are asked for."""
    return token_bundle(turn.prompt.token_ids, answer) if params.return_token_ids else {}


def ending_of(answer: Answer, params: ChatParams, prompts: Prompts) -> dict[str, Any]:
    """What a choice says beside its message: how it ended, its log-probabilities and tokens."""
    sample = answer.sample
    choice: dict[str, Any] = {"finish_reason": answer.finish_reason, "stop_reason": sample.stop_reason}
    choice["logprobs"] = content_logprobs(sample, params, prompts)
    if params.return_token_ids:
        choice["token_ids"] = sample.token_ids.tolist()
    if sample.routed_experts is not None:
        choice["routed_experts"] = sample.routed_experts.tolist()
    return choice


def message_of(answer: Answer) -> dict[str, Any]:
    """The assistant message; `content` is null where there are only calls."""
    message: dict[str, Any] = {"role": "assistant", "content": answer.content or None, "refusal": None}
    if not answer.tool_calls:
        message["content"] = answer.content
    else:
        message["tool_calls"] = [
            {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in answer.tool_calls
        ]
    if answer.reasoning:
        message["reasoning_content"] = answer.reasoning
    if answer.malformed:
        message["malformed_tool_calls"] = answer.malformed
    return message


def content_logprobs(sample: Sample, params: ChatParams, prompts: Prompts) -> dict[str, Any] | None:
    """The `logprobs` of a choice, where they are asked for."""
    if not params.logprobs:
        return None
    return {"content": logprob_list(sample, prompts, as_ids=bool(params.return_tokens_as_token_ids)), "refusal": None}
