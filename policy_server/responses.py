"""OpenAI's Responses API: create parameters to a conversation, an answer to a response object."""

from __future__ import annotations

import time
from typing import Annotated, Any

import msgspec
import numpy as np

from gym_core.errors import BadRequest
from model.chat import messages_from_responses, tools_from_responses
from model.parsers import ParsedReply, ParsedToolCall, output_items
from policy_server.answers import Answer, Turn, fresh_id, reply_kinds
from policy_server.config import PolicyConfig
from policy_server.constraints import calls_constraint, format_constraint, only_one
from policy_server.logprob_list import logprob_list
from policy_server.params import SamplingParams, at_least_one, num_alternatives, render_options, thinking_of
from policy_server.prompts import Conversation, Prompts
from policy_server.requests import GenerateRequest
from policy_server.unserved import RESPONSES, refuse


class ResponsesParams(SamplingParams, kw_only=True):
    """Create parameters that this server reads; other fields of the API are ignored."""

    input: str | list[dict[str, Any]]
    instructions: str | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    max_output_tokens: int | None = None
    reasoning: dict[str, Any] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    text: dict[str, Any] | None = None
    top_logprobs: int | None = None
    include: list[str] | None = None
    previous_response_id: Any = None
    conversation: Any = None
    background: Any = None
    prompt: Any = None
    truncation: Any = None
    context_management: Any = None
    n: Any = None

    @property
    def wants_logprobs(self) -> bool:
        return self.top_logprobs is not None or _LOGPROBS in (self.include or ())


_LOGPROBS = "message.output_text.logprobs"
_NOTHING_TO_INCLUDE = (
    "reasoning.encrypted_content",  # reasoning is told in the clear
    "code_interpreter_call.outputs",
    "computer_call_output.output.image_url",
    "file_search_call.results",
    "message.input_image.image_url",
    "web_search_call.action.sources",
    "web_search_call.results",
)
"""OpenAI's other values of `include`: parts of items that this server never answers with."""


def _require_known(include: list[str] | None) -> None:
    """Raises `BadRequest` for a part of a reply that nobody has."""
    for number, name in enumerate(include or ()):
        if name != _LOGPROBS and name not in _NOTHING_TO_INCLUDE:
            raise BadRequest(
                f"there is no {name!r:.80} to include", field=f"include[{number}]", hint=f"use {_LOGPROBS}"
            )


def generate_request(params: ResponsesParams, config: PolicyConfig, deadline_s: float) -> GenerateRequest:
    """Sampling of these create parameters."""
    most = at_least_one(params.max_output_tokens, "max_output_tokens")
    request = params.request(config, deadline_s, n=1, max_tokens=most)
    request.num_top_logprobs = num_alternatives(params.top_logprobs, "top_logprobs")
    request.constraint = only_one(
        request.constraint,
        format_constraint(text_format(params), "text.format"),
        calls_constraint(params.tool_choice, _tools_of(params), params.parallel_tool_calls),
    )
    return request


def text_format(params: ResponsesParams) -> dict[str, Any] | None:
    """`text.format`. Raises `BadRequest` when it is no object."""
    found = (params.text or {}).get("format")
    if found is not None and not isinstance(found, dict):
        raise BadRequest("must be an object", field="text.format")
    return found


def _tools_of(params: ResponsesParams) -> list[dict[str, Any]]:
    try:
        return tools_from_responses(params.tools)
    except ValueError as error:
        raise BadRequest(str(error), field=str(error).split(" ", 1)[0]) from None


def conversation_of(
    params: ResponsesParams, config: PolicyConfig, known: np.ndarray | None = None, num_known_items: int = 0
) -> Conversation:
    """Messages, tools and options. `known` are the tokens of the first `num_known_items` of `input`.

    Without `known`, token bundles on earlier output items (`prompt_token_ids`, `generation_token_ids`) are used.
    Raises `BadRequest` naming the field.
    """
    refuse(params, RESPONSES)
    _require_known(params.include)
    if known is None and isinstance(params.input, list):
        known, num_known_items = bundled_tokens(params.input)
    try:
        messages = messages_from_responses(params.input, params.instructions)
        tools, barred = tools_from_responses(params.tools), params.tool_choice == "none"
        num_known = _num_messages(params, num_known_items, messages) if num_known_items else 0
    except ValueError as error:
        raise BadRequest(str(error), field=str(error).split(" ", 1)[0]) from None
    if not messages:
        raise BadRequest("input has no items; give text or at least one message", field="input")
    return Conversation(
        messages=messages,
        tools=[] if barred else tools,
        options=render_options(config, _template_kwargs(params), params.reasoning_budget),
        known=known,
        num_known_messages=num_known,
        calls_barred=barred and bool(tools),
        single_call=params.parallel_tool_calls is False,
    )


def _template_kwargs(params: ResponsesParams) -> dict[str, Any]:
    """Template options, in rising order of precedence: reasoning effort, metadata (a JSON text), own field."""
    kwargs = thinking_of((params.reasoning or {}).get("effort"), "reasoning.effort")
    packed = (params.metadata or {}).get("chat_template_kwargs")
    if packed is not None:
        try:
            kwargs |= msgspec.json.decode(packed, type=dict[str, Any]) if isinstance(packed, str) else packed
        except (msgspec.DecodeError, TypeError):
            raise BadRequest("must be a JSON object as text", field="metadata.chat_template_kwargs") from None
    return kwargs | (params.chat_template_kwargs or {})


def _num_messages(params: ResponsesParams, num_items: int, messages: list[dict[str, Any]]) -> int:
    """How many messages the first items are; 0 where later items reach into the last one of them."""
    earlier = messages_from_responses(params.input[:num_items], params.instructions)
    return len(earlier) if messages[: len(earlier)] == earlier else 0


def bundled_tokens(items: list[dict[str, Any]]) -> tuple[np.ndarray | None, int]:
    """The trace that the last token bundle among these items or messages describes, and how many of them it covers."""
    for index in range(len(items) - 1, -1, -1):
        item = items[index]
        if isinstance(item, dict) and item.get("generation_token_ids") is not None:
            try:
                ids = [*item.get("prompt_token_ids", ()), *item["generation_token_ids"]]
                return token_array(ids), index + 1
            except (TypeError, msgspec.ValidationError):
                raise BadRequest(
                    "a token bundle must be lists of token ids", field=f"[{index}].generation_token_ids"
                ) from None
    return None, 0


_TokenId = Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)]


def token_array(ids: list[Any]) -> np.ndarray:
    """i64[t] of a list that has to be token ids."""
    return np.array(msgspec.convert(ids, list[_TokenId]), np.int64)


def items_of(answer: Answer) -> list[dict[str, Any]]:
    """The `output` of an answer: reasoning, message, function calls, with the answer's own call ids."""
    call_ids = iter([call.call_id for call in answer.tool_calls])
    parsed = ParsedReply(
        answer.reasoning, answer.content, [ParsedToolCall(c.name, c.arguments, "") for c in answer.tool_calls]
    )
    status = "incomplete" if answer.finish_reason == "length" else "completed"
    return output_items(parsed, lambda prefix: next(call_ids) if prefix == "call" else fresh_id(prefix), status)


def response_head(model: str) -> dict[str, Any]:
    """What a Responses object begins with."""
    created = int(time.time())
    return {"id": fresh_id("resp"), "object": "response", "created_at": created, "error": None, "model": model}


def response_object(
    turn: Turn,
    params: ResponsesParams,
    model: str,
    *,
    head: dict[str, Any] | None = None,
    output: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """The Responses object without the echo of its parameters, as our own servers exchange it.

    A stream gives the `head` and the `output` items that it has told.
    """
    answer = turn.answers[0]
    num_prompt, num_sampled = turn.num_prompt_tokens, turn.num_sampled_tokens
    output = items_of(answer) if output is None else output
    if params.return_token_ids:
        output[-1] |= token_bundle(turn.prompt.token_ids, answer)
    cut = answer.finish_reason == "length"
    return (head or response_head(model)) | {
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "output": output,
        "malformed_tool_calls": answer.malformed,
        "usage": {
            "input_tokens": num_prompt,
            "input_tokens_details": {"cached_tokens": turn.num_cached},
            "output_tokens": num_sampled,
            "output_tokens_details": {"reasoning_tokens": turn.num_reasoning_tokens},
            "total_tokens": num_prompt + num_sampled,
        },
    }


def with_logprobs(response: dict[str, Any], turn: Turn, params: ResponsesParams, prompts: Prompts) -> dict[str, Any]:
    """The Responses object with the log-probabilities of the message's tokens (not of thoughts, calls and tags), where
    `top_logprobs` or `include` asks for them."""
    if not params.wants_logprobs:
        return response
    sample = turn.answers[0].sample
    entries = logprob_list(sample, prompts)
    kinds = reply_kinds(sample.token_ids, turn.prompt.thinking_open)
    shown = [
        entries[i]
        for kind, start, end in kinds
        for i in range(start, end)
        if kind == "answer" and prompts.text(sample.token_ids[i : i + 1])
    ]
    for item in response["output"]:
        if item["type"] == "message":
            item["content"][0]["logprobs"] = shown
    return response | {"top_logprobs": params.top_logprobs or 0}


def with_echo(response: dict[str, Any], params: ResponsesParams, request: GenerateRequest) -> dict[str, Any]:
    """The Responses object as the public API answers it, parameters included."""
    return response | {
        "instructions": params.instructions,
        "tools": params.tools or [],
        "tool_choice": params.tool_choice or "auto",
        "parallel_tool_calls": True if params.parallel_tool_calls is None else params.parallel_tool_calls,
        "max_output_tokens": params.max_output_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "metadata": params.metadata or {},
        "previous_response_id": None,
        "background": False,
        "store": False,
        "reasoning": params.reasoning,
        "text": {"format": text_format(params) or {"type": "text"}},
        "truncation": "disabled",
    }


def token_bundle(prompt_token_ids: np.ndarray, answer: Answer) -> dict[str, Any]:
    """Training tokens as lists, where the ids are those that were sampled; else nothing.

    `generation_loss_mask` is there when a token is not the policy's own choice (`Sample.origin`): 0 for such ones;
    `routed_experts`, of the prompt's tokens and the generated ones, where they were asked for.
    """
    sample = answer.sample
    if not sample.exact:
        return {}
    bundle = {
        "prompt_token_ids": prompt_token_ids.tolist(),
        "generation_token_ids": sample.token_ids.tolist(),
        "generation_log_probs": sample.logprobs.tolist(),
        "policy_version": int(sample.versions[-1]),
    }
    if not sample.loss_mask.all():
        bundle["generation_loss_mask"] = sample.loss_mask.astype(int).tolist()
    if sample.routed_experts is not None:
        bundle["routed_experts"] = sample.routed_experts.tolist()
    return bundle
