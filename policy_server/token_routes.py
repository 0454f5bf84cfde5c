"""Tokens of a text or a conversation, and back; the shapes of vLLM's routes of the same name."""

from __future__ import annotations

from typing import Any

import msgspec

from gym_core.errors import BadRequest
from policy_server.chat_completions import ChatParams, conversation_of
from policy_server.config import PolicyConfig
from policy_server.prompts import Prompts
from policy_server.unserved import TOKENIZE, refuse


class TokenizeParams(msgspec.Struct, kw_only=True):
    """`prompt`, a raw text, or `messages` with what the chat route takes for rendering."""

    prompt: str | None = None
    messages: list[dict[str, Any]] | None = None
    tools: list[dict[str, Any]] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    reasoning_budget: int | None = None
    return_token_strs: bool | None = None
    add_generation_prompt: Any = None
    continue_final_message: Any = None
    chat_template: Any = None


class DetokenizeParams(msgspec.Struct, kw_only=True):
    """Token ids."""

    tokens: list[int]


def tokenize(params: TokenizeParams, prompts: Prompts, config: PolicyConfig, max_length: int) -> dict[str, Any]:
    """{"tokens", "count", "max_model_len"}, and the tokens' texts as "token_strs" where they are asked for.

    Raises `BadRequest` unless exactly one of prompt and messages is given.
    """
    refuse(params, TOKENIZE)
    if (params.prompt is None) == (params.messages is None):
        raise BadRequest("give either `prompt` or `messages`", field="prompt")
    if params.prompt is not None:
        tokens = prompts.tokenizer.encode(params.prompt)
    else:
        chat = ChatParams(
            messages=params.messages or [],
            tools=params.tools,
            chat_template_kwargs=params.chat_template_kwargs,
            reasoning_budget=params.reasoning_budget,
        )
        tokens = prompts.build(conversation_of(chat, config)).token_ids.tolist()
    told = {"tokens": tokens, "count": len(tokens), "max_model_len": max_length}
    if params.return_token_strs:
        told["token_strs"] = [prompts.tokenizer.token_bytes(token).decode("utf-8", "replace") for token in tokens]
    return told


def detokenize(params: DetokenizeParams, prompts: Prompts) -> dict[str, str]:
    """{"prompt": text}. Raises `BadRequest` for an id outside the vocabulary."""
    try:
        return {"prompt": prompts.tokenizer.decode(params.tokens)}
    except ValueError as error:
        raise BadRequest(str(error), field="tokens") from None
