"""Any OpenAI-compatible address as backend, in JSON.

`chat` mode sends messages and lets the upstream render and parse; where it tells token ids and log-probabilities (vLLM
does when asked) the trace is exact, else the reply is tokenised here and its trace marked untrainable. `completions`
mode sends token ids and keeps every trace exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gym_core.client import Client
from gym_core.errors import BadRequest, PolicyFault, RemoteError, Unauthorized, UnknownName
from gym_core.tokens import NO_VERSION
from model.control_tokens import END_THINK, END_TOOL_CALL
from model.tokenizer import Tokenizer
from policy_server.answers import ChatReply, ToolCall, fresh_id
from policy_server.prompts import Conversation
from policy_server.requests import FORCED, STEERED, GenerateRequest, GenerateResult, Sample
from policy_server.routed import refuse_experts
from policy_server.upstream_reply import Call, Choice, Reply, logprobs_of, read_reply, token_ids_of

_EXTRAS = (
    "thinking_token_budget",
    "return_token_ids",
    "return_tokens_as_token_ids",
    "chat_template_kwargs",
    "stop_token_ids",
    "ignore_eos",
)
"""Fields beyond OpenAI's: an upstream that refuses them is asked without."""


class Upstream:
    """`base_url` without `/v1` or with it. Raises `PolicyFault` for replies that are not what was asked for."""

    def __init__(
        self,
        base_url: str,
        tokenizer: Tokenizer,
        *,
        upstream_model: str,
        model_name: str = "",
        token: str | None = None,
        max_length: int = 1 << 20,
        timeout_s: float = 600.0,
        version: int = 0,
    ) -> None:
        self.model_name = model_name or upstream_model
        self.max_length = max_length
        self.version = version
        self._model, self._tokenizer, self._timeout_s = upstream_model, tokenizer, timeout_s
        self._takes_extras = True
        self._client = Client(base_url.rstrip("/").removesuffix("/v1"), token=token, timeout_s=timeout_s)

    async def close(self) -> None:
        await self._client.close()

    async def generate(self, request: GenerateRequest) -> GenerateResult:
        """Token ids in, token ids out, through the upstream's /v1/completions."""
        prompt = np.asarray(request.prompt_token_ids, np.int64)
        refuse_experts(request)
        if len(prompt) >= self.max_length:
            raise BadRequest(
                f"the prompt has {len(prompt)} tokens and the context length is {self.max_length}", field="prompt"
            )
        room = self.max_length - len(prompt)
        wanted = room if request.max_tokens is None else min(request.max_tokens, room)
        body = self._sampling(request) | {"prompt": prompt.tolist(), "max_tokens": wanted, "logprobs": 0}
        body.pop("top_logprobs", None)  # a field of the chat route
        if request.constraint is not None:
            if not request.constraint.raw:
                raise BadRequest(
                    "an upstream that takes token ids cannot be made to call a tool",
                    field=request.constraint.field,
                    hint='use upstream_api="chat", or tool_choice "auto"',
                )
            body |= request.constraint.raw
        reply = await self._ask("/v1/completions", body, request)
        choices = _in_order(reply, request.n)
        return GenerateResult(
            samples=[self._sample(choice, self._version(reply.policy_version), request) for choice in choices],
            prompt_token_ids=prompt,
        )

    async def _ask(self, path: str, body: dict[str, Any], request: GenerateRequest) -> Reply:
        timeout_s = self._timeout_s if request.deadline_s is None else request.deadline_s
        if self._takes_extras:
            try:
                return await self._post(path, body, timeout_s)
            except BadRequest as refusal:
                plain = _without_extras(body)
                try:
                    reply = await self._post(path, plain, timeout_s)
                except BadRequest:
                    raise refusal from None
                self._takes_extras = False
                return reply
        return await self._post(path, _without_extras(body), timeout_s)

    async def _post(self, path: str, body: dict[str, Any], timeout_s: float) -> Reply:
        try:
            # sampling again is harmless, so a request that was lost is repeated
            reply = await self._client.post(path, body, timeout_s=timeout_s, idempotent=True)
        except (Unauthorized, UnknownName) as error:
            raise PolicyFault(f"the upstream refuses us: {error.message}", hint=error.hint, stage="upstream") from None
        except RemoteError as error:
            raise PolicyFault(error.message, hint=error.hint, stage="upstream") from None
        return read_reply(reply.body, path)

    def _version(self, told: int | None) -> int:
        return self.version if told is None else told

    def _sampling(self, request: GenerateRequest) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self._model, "n": request.n, "temperature": request.temperature}
        body |= {"top_p": request.top_p, "return_token_ids": True, "return_tokens_as_token_ids": True}
        if request.seed is not None:
            body["seed"] = request.seed
        if request.stop:
            body["stop"] = list(request.stop)
        if request.stop_token_ids:
            body["stop_token_ids"] = list(request.stop_token_ids)
        if request.ignore_eos:
            body["ignore_eos"] = True
        if request.num_top_logprobs:
            body["top_logprobs"] = request.num_top_logprobs
        for name in ("presence_penalty", "frequency_penalty"):
            if amount := getattr(request, name):
                body[name] = amount
        if biases := {str(token): amount for token, amount in request.logit_bias.items() if math.isfinite(amount)}:
            body["logit_bias"] = biases
        if request.thinking_budget is not None:
            body["thinking_token_budget"] = request.thinking_budget
        return body

    def _sample(self, choice: Choice, version: int, request: GenerateRequest) -> Sample:
        ids, logprobs = token_ids_of(choice), logprobs_of(choice)
        exact = ids is not None and logprobs is not None and len(ids) == len(logprobs)
        if ids is None:
            if choice.text is None:
                raise PolicyFault("the upstream's choice has neither text nor token ids", stage="upstream")
            ids = np.array(self._tokenizer.encode(choice.text), np.int32)
        if choice.policy_version is not None:
            version = choice.policy_version
        return Sample(
            token_ids=ids,
            logprobs=logprobs if exact and logprobs is not None else np.zeros(len(ids), np.float32),
            versions=np.full(len(ids), version if exact else NO_VERSION, np.int32),
            finish_reason="length" if choice.finish_reason == "length" else "stop",
            stop_reason=choice.stop_reason,
            text=choice.text,
            exact=exact,
            origin=_origin(ids, request),
        )


class ChatUpstream(Upstream):
    """The same address, spoken to in messages."""

    async def chat(self, conversation: Conversation, request: GenerateRequest) -> list[ChatReply]:
        """The upstream's choices in order."""
        refuse_experts(request)
        body = self._sampling(request) | {"messages": conversation.messages, "logprobs": True}
        if request.constraint is not None:
            body |= request.constraint.chat
        if request.max_tokens is not None:
            body["max_tokens"] = request.max_tokens
        if conversation.tools:
            body["tools"] = list(conversation.tools)
            if conversation.single_call:
                body["parallel_tool_calls"] = False
        options = conversation.options.as_dict()
        body["chat_template_kwargs"] = {name: value for name, value in options.items() if value is not None}
        reply = await self._ask("/v1/chat/completions", body, request)
        usage = {name: count for name, count in (reply.usage or {}).items() if isinstance(count, int)}
        return [self._reply(choice, reply.prompt_token_ids, usage, request) for choice in _in_order(reply, request.n)]

    def _reply(
        self, choice: Choice, told: Sequence[int] | None, usage: dict[str, int], request: GenerateRequest
    ) -> ChatReply:
        message = choice.message
        if message is None:
            raise PolicyFault("the upstream's choice has no message", stage="upstream")
        prompt = told if message.prompt_token_ids is None else message.prompt_token_ids
        ids = token_ids_of(choice)
        return ChatReply(
            content=message.content or "",
            reasoning=message.reasoning_content or message.reasoning or "",
            tool_calls=[_call(call) for call in message.tool_calls or ()],
            finish_reason=choice.finish_reason or "stop",
            prompt_token_ids=None if prompt is None else np.array(prompt, np.int64),
            token_ids=ids,
            origin=None if ids is None else _origin(ids, request),
            logprobs=logprobs_of(choice),
            version=self._version(message.policy_version),
            usage=usage,
        )


def _origin(ids: np.ndarray, request: GenerateRequest) -> np.ndarray | None:
    """What is known of tokens that another server steered: it does not say which, so none of them is taken for sampled.

    A thinking budget touches the tag that closes the thought, and only where the budget was used up; one call only,
    what comes after it.
    """
    if request.constraint is not None or request.presence_penalty or request.frequency_penalty or request.logit_bias:
        return np.full(len(ids), STEERED, np.uint8)
    origin = np.zeros(len(ids), np.uint8)
    called = np.flatnonzero(ids == END_TOOL_CALL)
    if request.single_call and len(called):
        origin[called[0] + 1 :] = STEERED
    closing = np.flatnonzero(ids == END_THINK)
    if request.thinking_budget is not None and len(closing) and closing[0] >= request.thinking_budget - 1:
        origin[closing[0]] = FORCED
    return origin if origin.any() else None


def _call(call: Call) -> ToolCall:
    return ToolCall(call.function.name, call.function.arguments or "{}", call.id or fresh_id("call"))


def _in_order(reply: Reply, n: int) -> list[Choice]:
    if len(reply.choices) != n:
        raise PolicyFault(f"the upstream answered {len(reply.choices)} choices, {n} were asked for", stage="upstream")
    return sorted(reply.choices, key=lambda choice: choice.index)


def _without_extras(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in _EXTRAS}
