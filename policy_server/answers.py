"""One turn: a conversation in, parsed answers out, whatever backend samples.

Conversation ─▶ prompt tokens ─▶ backend ─▶ samples ─▶ reasoning, text, tool calls       (token backends)
Conversation ─────────────────▶ backend ─▶ chat message ─▶ the same                      (chat upstreams)
"""

from __future__ import annotations

import functools
import itertools
import math
import secrets
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeGuard, runtime_checkable

import numpy as np

from gym_core.tokens import NO_VERSION, TokenTrace
from model.control_tokens import TOOL_CALL
from model.parsers import parse_reply, reply_spans
from policy_server.prompts import Conversation, Prompt, Prompts
from policy_server.requests import FORCED, Backend, GenerateRequest, Sample
from policy_server.watch import cut_at


@dataclass(slots=True, frozen=True)
class ToolCall:
    """A call the policy made; `arguments` is JSON text."""

    name: str
    arguments: str
    call_id: str


@dataclass(slots=True, kw_only=True)
class Answer:
    """One choice. `sample` has its tokens; `finish_reason` is `stop`, `length` or `tool_calls`."""

    reasoning: str
    content: str
    tool_calls: list[ToolCall]
    finish_reason: str
    sample: Sample
    malformed: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Turn:
    """The answers to one prompt; `num_cached` of its tokens needed no computation."""

    prompt: Prompt
    answers: list[Answer]
    num_cached: int = 0
    counted: dict[str, int] = field(default_factory=dict)

    @property
    def num_prompt_tokens(self) -> int:
        """As the upstream counted, where one did."""
        return self.counted.get("prompt_tokens", len(self.prompt.token_ids))

    @property
    def num_sampled_tokens(self) -> int:
        """Of all answers; as the upstream counted, where one did."""
        return self.counted.get("completion_tokens", sum(len(answer.sample.token_ids) for answer in self.answers))

    @property
    def num_reasoning_tokens(self) -> int:
        """Of all answers, think tags included."""
        kinds = [reply_kinds(answer.sample.token_ids, self.prompt.thinking_open) for answer in self.answers]
        return sum(end - start for spans in kinds for kind, start, end in spans if kind == "think")


@dataclass(slots=True, kw_only=True)
class ChatReply:
    """What a chat upstream said. The ids are None where it does not tell them."""

    content: str
    finish_reason: str
    reasoning: str = ""
    tool_calls: list[ToolCall] = field(default_factory=list)
    prompt_token_ids: np.ndarray | None = None
    token_ids: np.ndarray | None = None
    logprobs: np.ndarray | None = None
    version: int = NO_VERSION
    origin: np.ndarray | None = None
    usage: dict[str, int] = field(default_factory=dict)


@runtime_checkable
class ChatBackend(Protocol):
    """A backend that takes messages instead of tokens."""

    async def chat(self, conversation: Conversation, request: GenerateRequest) -> list[ChatReply]: ...


def _takes_messages(backend: Backend) -> TypeGuard[ChatBackend]:
    return _is_chat(type(backend))


@functools.cache
def _is_chat(kind: type) -> bool:
    """Kept by type: asking a protocol takes ten times as long as a look-up, and each turn asks."""
    return issubclass(kind, ChatBackend)


async def take_turn(
    backend: Backend,
    prompts: Prompts,
    conversation: Conversation,
    request: GenerateRequest,
    prompt: Prompt | None = None,
) -> Turn:
    """Let the policy answer. `request` has everything but the prompt, which is built here unless it is given."""
    prompt = prompts.build(conversation) if prompt is None else prompt
    request = replace(
        request,
        prompt_token_ids=prompt.token_ids,
        known_tokens=prompt.num_known,
        shared_tokens=prompt.num_shared,
        thinking_open=prompt.thinking_open,
        thinking_budget=_budget(conversation, request),
        logit_bias={**request.logit_bias, **({TOOL_CALL: -math.inf} if conversation.calls_barred else {})},
        keep=request.keep or bool(conversation.tools),
        single_call=conversation.single_call and bool(conversation.tools),
    )
    if _takes_messages(backend):
        replies = await backend.chat(conversation, request)
        return _from_chat(prompts, conversation, prompt, replies)
    result = await backend.generate(request)
    answers = [_parse(prompts, conversation, prompt.thinking_open, sample) for sample in result.samples]
    return Turn(prompt=prompt, answers=answers, num_cached=result.num_cached)


def _budget(conversation: Conversation, request: GenerateRequest) -> int | None:
    """The smaller of the budget that the policy is told of and the one that it is only held to."""
    budgets = (conversation.options.reasoning_budget, request.thinking_budget)
    return min((budget for budget in budgets if budget is not None), default=None)


def fresh_id(prefix: str) -> str:
    """An id such as `msg_0f…`, unique everywhere."""
    return f"{prefix}_{secrets.token_hex(12)}"


def _parse(prompts: Prompts, conversation: Conversation, thinking_open: bool, sample: Sample) -> Answer:
    text = sample.text if sample.text is not None else cut_at(prompts.text(sample.token_ids), sample.stop_reason)
    parsed = parse_reply(text, thinking_open, conversation.tools)
    allowed = 0 if conversation.calls_barred else 1 if conversation.single_call else len(parsed.tool_calls)
    if surplus := parsed.tool_calls[allowed:]:
        spelled = [call.raw for call in surplus]  # in letters: the tag itself was barred
        content = "\n".join(filter(None, [parsed.content, *spelled]))
        parsed = replace(parsed, content=content, tool_calls=parsed.tool_calls[:allowed])
    calls = [ToolCall(call.name, call.arguments, fresh_id("call")) for call in parsed.tool_calls]
    return Answer(
        reasoning=parsed.reasoning,
        content=parsed.content,
        tool_calls=calls,
        finish_reason="tool_calls" if calls and sample.finish_reason == "stop" else sample.finish_reason,
        sample=sample,
        malformed=parsed.malformed,
    )


def _from_chat(prompts: Prompts, conversation: Conversation, prompt: Prompt, replies: list[ChatReply]) -> Turn:
    """Answers of a chat upstream; its own prompt tokens replace ours where it tells them."""
    told = replies[0].prompt_token_ids if replies else None
    if told is not None:
        known = conversation.known
        extends = known is not None and len(known) <= len(told) and bool(np.array_equal(told[: len(known)], known))
        began = "" if extends else prompt.began or "history_rewritten"
        prompt = Prompt(told, len(known) if extends and known is not None else 0, began, prompt.thinking_open)
    answers = [_answer(prompts, conversation, prompt, reply) for reply in replies]
    return Turn(prompt=prompt, answers=answers, counted=replies[0].usage if replies else {})


def _answer(prompts: Prompts, conversation: Conversation, prompt: Prompt, reply: ChatReply) -> Answer:
    content, reasoning, calls = reply.content, reply.reasoning, reply.tool_calls
    exact = reply.token_ids is not None and reply.prompt_token_ids is not None
    ids = reply.token_ids if reply.token_ids is not None else np.array(prompts.tokenizer.encode(content), np.int32)
    sample = Sample(
        token_ids=ids,
        logprobs=np.zeros(len(ids), np.float32) if reply.logprobs is None else reply.logprobs,
        versions=np.full(len(ids), reply.version if exact else NO_VERSION, np.int32),
        finish_reason="length" if reply.finish_reason == "length" else "stop",
        text=content,
        exact=exact and reply.logprobs is not None,
        origin=reply.origin,
    )
    if calls or reasoning:
        finish = "tool_calls" if calls and sample.finish_reason == "stop" else sample.finish_reason
        return Answer(reasoning=reasoning, content=content, tool_calls=calls, finish_reason=finish, sample=sample)
    return _parse(prompts, conversation, prompt.thinking_open and "</think>" in content, sample)


def segment_of(prompt: Prompt, answer: Answer) -> TokenTrace:
    """The turn as a segment: prompt tokens that are new (mask 0), then the generated ones.

    Those have mask 1 where they are the policy's own choice. Forced ones are spans of their own that no policy sampled.
    """
    added, sample = prompt.token_ids[prompt.num_known :], answer.sample
    num_added = len(added)
    forced = np.zeros(len(sample.token_ids), np.bool_) if sample.origin is None else sample.origin == FORCED
    spans = [("prompt", 0, num_added)] if num_added else []
    spans += [
        (kind, a + num_added, b + num_added)
        for whole in reply_kinds(sample.token_ids, prompt.thinking_open)
        for kind, a, b in _cut(whole, forced)
    ]
    return TokenTrace(
        token_ids=np.concatenate([added, sample.token_ids]).astype(np.int32),
        logprobs=np.concatenate([np.zeros(num_added, np.float32), np.where(forced, np.float32(0), sample.logprobs)]),
        loss_mask=np.concatenate([np.zeros(num_added, np.bool_), sample.loss_mask]),
        versions=np.concatenate(
            [np.full(num_added, NO_VERSION, np.int32), np.where(forced, np.int32(NO_VERSION), sample.versions)]
        ),
        spans=spans,
        routed_experts=None if sample.routed_experts is None else sample.routed_experts[prompt.num_known :],
    )


def _cut(span: tuple[str, int, int], forced: np.ndarray) -> list[tuple[str, int, int]]:
    """A span cut where tokens begin or cease to be forced."""
    kind, start, end = span
    edges = [start, *(start + 1 + np.flatnonzero(np.diff(forced[start:end]))).tolist(), end]
    return [(kind, a, b) for a, b in itertools.pairwise(edges)]


def reply_kinds(token_ids: np.ndarray, thinking_open: bool) -> list[tuple[str, int, int]]:
    """`reply_spans`, without walking through replies that have no tag at all."""
    if not ((token_ids >= 12) & (token_ids <= 15)).any():
        return [("think" if thinking_open else "answer", 0, len(token_ids))] if len(token_ids) else []
    return reply_spans(token_ids.tolist(), thinking_open)
