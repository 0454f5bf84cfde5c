"""Any OpenAI-compatible address as backend, in JSON.

`chat` mode sends messages and lets the upstream render and parse; where it tells token ids and log-probabilities (vLLM
does when asked) the trace is exact, else the reply is tokenised here and its trace marked untrainable. `completions`
mode sends token ids and keeps every trace exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gym_core.client import Client
from gym_core.errors import BadRequest, PolicyFault, RemoteError, Unauthorized, UnknownName
from gym_core.tokens import NO_VERSION
from model.tokenizer import Tokenizer
from policy_server.answers import ChatReply
from policy_server.prompts import Conversation
from policy_server.requests import GenerateRequest, GenerateResult, Sample

_TOKEN_ID = "token_id:"
_EXTRAS = ("return_token_ids", "return_tokens_as_token_ids", "chat_template_kwargs", "stop_token_ids", "ignore_eos")
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
        if len(prompt) >= self.max_length:
            raise BadRequest(
                f"the prompt has {len(prompt)} tokens and the context length is {self.max_length}", field="prompt"
            )
        room = self.max_length - len(prompt)
        wanted = room if request.max_tokens is None else min(request.max_tokens, room)
        body = self._sampling(request) | {"prompt": prompt.tolist(), "max_tokens": wanted, "logprobs": 0}
        reply = await self._ask("/v1/completions", body, request)
        choices = _in_order(reply, request.n)
        return GenerateResult(
            samples=[self._sample(choice, int(reply.get("policy_version", self.version))) for choice in choices],
            prompt_token_ids=prompt,
        )

    async def _ask(self, path: str, body: dict[str, Any], request: GenerateRequest) -> dict[str, Any]:
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

    async def _post(self, path: str, body: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        try:
            # sampling again is harmless, so a request that was lost is repeated
            reply: dict[str, Any] = await self._client.post_json(
                path, body, dict[str, Any], timeout_s=timeout_s, idempotent=True
            )
        except (Unauthorized, UnknownName) as error:
            raise PolicyFault(f"the upstream refuses us: {error.message}", hint=error.hint, stage="upstream") from None
        except RemoteError as error:
            raise PolicyFault(error.message, hint=error.hint, stage="upstream") from None
        if not isinstance(reply.get("choices"), list):
            raise PolicyFault(f"the upstream's reply to {path} has no choices", stage="upstream")
        return reply

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
        return body

    def _sample(self, choice: dict[str, Any], version: int) -> Sample:
        text = choice.get("text")
        ids, logprobs = token_ids_of(choice), _logprobs_of(choice)
        exact = ids is not None and logprobs is not None and len(ids) == len(logprobs)
        if ids is None:
            if not isinstance(text, str):
                raise PolicyFault("the upstream's choice has neither text nor token ids", stage="upstream")
            ids = np.array(self._tokenizer.encode(text), np.int32)
        return Sample(
            token_ids=ids,
            logprobs=logprobs if exact and logprobs is not None else np.zeros(len(ids), np.float32),
            versions=np.full(len(ids), choice.get("policy_version", version) if exact else NO_VERSION, np.int32),
            finish_reason="length" if choice.get("finish_reason") == "length" else "stop",
            stop_reason=choice.get("stop_reason"),
            text=text if isinstance(text, str) else None,
            exact=exact,
        )


class ChatUpstream(Upstream):
    """The same address, spoken to in messages."""

    async def chat(self, conversation: Conversation, request: GenerateRequest) -> list[ChatReply]:
        """The upstream's choices in order."""
        body = self._sampling(request) | {"messages": conversation.messages, "logprobs": True}
        if request.max_tokens is not None:
            body["max_tokens"] = request.max_tokens
        if conversation.tools:
            body["tools"] = list(conversation.tools)
        options = conversation.options.as_dict()
        body["chat_template_kwargs"] = {name: value for name, value in options.items() if value is not None}
        reply = await self._ask("/v1/chat/completions", body, request)
        told = reply.get("prompt_token_ids")
        usage = {name: count for name, count in (reply.get("usage") or {}).items() if isinstance(count, int)}
        return [self._reply(choice, told, usage) for choice in _in_order(reply, request.n)]

    def _reply(self, choice: dict[str, Any], told: Sequence[int] | None, usage: dict[str, int]) -> ChatReply:
        message = choice.get("message")
        if not isinstance(message, dict):
            raise PolicyFault("the upstream's choice has no message", stage="upstream")
        prompt = message.get("prompt_token_ids", told)
        return ChatReply(
            message=message,
            finish_reason=choice.get("finish_reason") or "stop",
            prompt_token_ids=None if prompt is None else np.array(prompt, np.int64),
            token_ids=token_ids_of(choice),
            logprobs=_logprobs_of(choice),
            version=int(message.get("policy_version", self.version)),
            usage=usage,
        )


def token_ids_of(choice: dict[str, Any]) -> np.ndarray | None:
    """i32[t] of a choice, from whichever of the known places it tells them; None where it does not."""
    message = choice.get("message") or {}
    ids = message.get("generation_token_ids") or choice.get("token_ids")
    if ids is None:
        names = _token_names(choice)
        if not names or not all(name.startswith(_TOKEN_ID) for name in names):
            return None
        ids = [int(name.removeprefix(_TOKEN_ID)) for name in names]
    return np.array(ids, np.int32)


def _token_names(choice: dict[str, Any]) -> list[str]:
    logprobs = choice.get("logprobs") or {}
    if "content" in logprobs:
        return [entry["token"] for entry in logprobs["content"] or []]
    return list(logprobs.get("tokens") or [])


def _logprobs_of(choice: dict[str, Any]) -> np.ndarray | None:
    message, logprobs = choice.get("message") or {}, choice.get("logprobs") or {}
    values = message.get("generation_log_probs") or logprobs.get("token_logprobs")
    if values is None and logprobs.get("content") is not None:
        values = [entry["logprob"] for entry in logprobs["content"]]
    return None if values is None else np.array(values, np.float32)


def _in_order(reply: dict[str, Any], n: int) -> list[dict[str, Any]]:
    choices = sorted(reply["choices"], key=lambda choice: choice.get("index", 0))
    if len(choices) != n:
        raise PolicyFault(f"the upstream answered {len(choices)} choices, {n} were asked for", stage="upstream")
    return choices


def _without_extras(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in _EXTRAS}
