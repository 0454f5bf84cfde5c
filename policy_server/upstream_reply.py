"""What an OpenAI-compatible server answers, read into records that skip what nobody looks at.

A reply of 8,192 tokens carries as many log-probability entries with names, bytes and alternatives. They are read last,
by a type that keeps the one number of each; names are read only where no ids are told.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from gym_core.errors import PolicyFault

_TOKEN_ID = "token_id:"


class Function(msgspec.Struct):
    """What a tool call asks for; `arguments` is JSON text."""

    name: str
    arguments: str | None = None


class Call(msgspec.Struct):
    """One tool call of a message."""

    function: Function
    id: str | None = None


class Message(msgspec.Struct, gc=False):
    """The message of a chat choice; the token fields are those of NeMo Gym and of our own policy server."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[Call] | None = None
    prompt_token_ids: list[int] | None = None
    generation_token_ids: list[int] | None = None
    generation_log_probs: list[float] | None = None
    policy_version: int | None = None


class Choice(msgspec.Struct):
    """One choice of either route."""

    index: int = 0
    text: str | None = None
    message: Message | None = None
    logprobs: msgspec.Raw = msgspec.Raw(b"null")
    token_ids: list[int] | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    policy_version: int | None = None


class Reply(msgspec.Struct):
    """A chat completion or a completion."""

    choices: list[Choice]
    prompt_token_ids: list[int] | None = None
    usage: dict[str, Any] | None = None
    policy_version: int | None = None


class _Value(msgspec.Struct, gc=False):
    logprob: float


class _Name(msgspec.Struct, gc=False):
    token: str


class _Values(msgspec.Struct, gc=False):
    content: list[_Value] | None = None
    token_logprobs: list[float | None] | None = None


class _Names(msgspec.Struct, gc=False):
    content: list[_Name] | None = None
    tokens: list[str] | None = None


_replies = msgspec.json.Decoder(Reply)
_values = msgspec.json.Decoder(_Values | None)
_names = msgspec.json.Decoder(_Names | None)


def read_reply(body: bytes, path: str) -> Reply:
    """Raises `PolicyFault` naming what in the reply is not as agreed."""
    return _read(_replies, body, f"the upstream's reply to {path}")


def token_ids_of(choice: Choice) -> np.ndarray | None:
    """i32[t] of a choice, from whichever of the known places it tells them; None where it does not."""
    ids = (choice.message.generation_token_ids if choice.message else None) or choice.token_ids
    if ids is None:
        names = _token_names(choice)
        if not names or not all(name.startswith(_TOKEN_ID) for name in names):
            return None
        ids = [int(name.removeprefix(_TOKEN_ID)) for name in names]
    return np.array(ids, np.int32)


def logprobs_of(choice: Choice) -> np.ndarray | None:
    """f32[t] of a choice; None where it tells none."""
    if choice.message is not None and choice.message.generation_log_probs:
        return np.array(choice.message.generation_log_probs, np.float32)
    told = _read(_values, bytes(choice.logprobs), "the upstream's log-probabilities")
    if told is None:
        return None
    if told.content is not None:
        return np.fromiter((entry.logprob for entry in told.content), np.float32, len(told.content))
    return None if told.token_logprobs is None else np.array(told.token_logprobs, np.float32)


def _token_names(choice: Choice) -> list[str]:
    told = _read(_names, bytes(choice.logprobs), "the upstream's log-probabilities")
    if told is None:
        return []
    if told.content is not None:
        return [entry.token for entry in told.content]
    return told.tokens or []


def _read(decoder: msgspec.json.Decoder[Any], body: bytes, what: str) -> Any:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise PolicyFault(f"{what} is not in OpenAI's shape: {error}", stage="upstream") from None
    except msgspec.DecodeError as error:
        raise PolicyFault(f"{what} is not JSON: {error}", stage="upstream") from None
