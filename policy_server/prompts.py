"""From a conversation to prompt tokens: rendered anew, or the earlier trace continued byte for byte.

A conversation whose last turns are already tokens keeps them: only the items that came since are rendered and appended.
When the template would rewrite what was generated, or the history is not the one of the trace, a new trace begins.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

import msgspec
import numpy as np

from gym_core.errors import BadRequest
from model import chat
from model.tokenizer import StreamDecoder, Tokenizer
from policy_server.remembered import Remembered

START = "start"
HISTORY_REWRITTEN = "history_rewritten"
_MAX_OPENINGS, _OPENINGS_BYTES = 512, 16 << 20
_TEXTS_BYTES = 4 << 20
_NO_IDS = np.zeros(0, np.int32)


@dataclass(slots=True, frozen=True)
class RenderOptions:
    """What `chat_template_kwargs` may say, and the reasoning budget."""

    enable_thinking: bool = True
    truncate_history_thinking: bool = True
    reasoning_budget: int | None = None

    def as_dict(self) -> dict[str, Any]:
        return {
            "enable_thinking": self.enable_thinking,
            "truncate_history_thinking": self.truncate_history_thinking,
            "reasoning_budget": self.reasoning_budget,
        }


@dataclass(slots=True, kw_only=True)
class Conversation:
    """Chat messages and tools; `known` are the tokens of the first `num_known_messages` (None on the first turn).

    `calls_barred`: the request has tools and says that none may be called; `single_call`: not more than one in a reply.
    """

    messages: list[dict[str, Any]]
    tools: Sequence[Mapping[str, Any]] = ()
    options: RenderOptions = field(default_factory=RenderOptions)
    known: np.ndarray | None = None
    num_known_messages: int = 0
    calls_barred: bool = False
    single_call: bool = False


@dataclass(slots=True, frozen=True)
class Prompt:
    """token_ids i64[t]; the first `num_known` are the trace that goes on; `began` is empty then, else why it is new.

    The first `num_shared` are the system block, which other conversations begin with as well.
    """

    token_ids: np.ndarray
    num_known: int
    began: str
    thinking_open: bool
    num_shared: int = 0


class Prompts:
    """Renders and encodes for one tokenizer. Group mates ask the same and system prompts recur, so both are remembered:
    whole opening prompts, and the ids of repeated stretches of text.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self._texts = Remembered[str, np.ndarray](_TEXTS_BYTES)
        self._openings = Remembered[bytes, Prompt](_OPENINGS_BYTES, _MAX_OPENINGS)
        self._im_start = tokenizer.control_id("<|im_start|>")

    def build(self, conversation: Conversation) -> Prompt:
        """The prompt of the next turn. Raises `BadRequest` naming the message or tool that is malformed."""
        try:
            return self._build(conversation)
        except ValueError as error:
            raise BadRequest(str(error), field=_field_of(str(error))) from None

    def _build(self, conversation: Conversation) -> Prompt:
        began = START
        if conversation.known is not None and len(conversation.known):
            added = self._continue(conversation, conversation.known)
            if added is not None:
                ids = np.concatenate([conversation.known, self.encode(added)])
                return Prompt(ids, len(conversation.known), "", added.thinking_open)
            began = HISTORY_REWRITTEN
        return replace(self._opening(conversation), began=began)

    def _opening(self, conversation: Conversation) -> Prompt:
        """The whole conversation rendered and encoded."""
        options = conversation.options.as_dict()
        content = msgspec.json.encode([conversation.messages, conversation.tools, options])
        key = blake2b(content, digest_size=16).digest()
        prompt = self._openings.find(key)
        if prompt is None:
            rendered = chat.render(conversation.messages, conversation.tools, **options)
            ids = self.encode(rendered)
            ids.flags.writeable = False
            blocks = np.flatnonzero(ids == self._im_start)
            num_shared = int(blocks[1]) if len(blocks) > 2 else 0  # system, user, …, assistant
            prompt = Prompt(ids, 0, START, rendered.thinking_open, num_shared)
            self._openings.keep(key, prompt, sum(map(sys.getsizeof, (key, prompt, ids))))
        return prompt

    def _continue(self, conversation: Conversation, known: np.ndarray) -> chat.Rendered | None:
        before = conversation.messages[: conversation.num_known_messages]
        after = conversation.messages[conversation.num_known_messages :]
        if not before or before[-1].get("role") != "assistant":
            return None
        ended = int(known[-1]) in self.tokenizer.stop_ids
        return chat.continuation(before, after, conversation.tools, ended=ended, **conversation.options.as_dict())

    def encode(self, rendered: chat.Rendered) -> np.ndarray:
        """i64 ids of rendered text, its control tokens real and everything else plain."""
        parts: list[np.ndarray] = []
        run: list[str] = []
        for text, control in rendered.pieces:
            if control:
                parts += [self._plain("".join(run)), np.array([self.tokenizer.control_id(text)])]
                run.clear()
            else:
                run.append(text)
        return np.concatenate([*parts, self._plain("".join(run))], dtype=np.int64)

    def _plain(self, text: str) -> np.ndarray:
        """i32 ids of text between two control tokens. System prompts with their tools come again and again."""
        if not text:
            return _NO_IDS
        ids = self._texts.find(text)
        if ids is None:
            ids = np.array(self.tokenizer.encode(text, allow_special=False), np.int32)
            self._texts.keep(text, ids, sys.getsizeof(text) + sys.getsizeof(ids))
        return ids

    def text(self, token_ids: np.ndarray) -> str:
        """Text of sampled tokens without special ones."""
        return self.tokenizer.decode(token_ids.tolist(), skip_special=True, sampled=True)

    def decoder(self) -> StreamDecoder:
        """A stream decoder that drops special tokens."""
        return StreamDecoder(self.tokenizer, skip_special=True)


def _field_of(message: str) -> str:
    """The path with which the message begins, such as `messages[2].content`."""
    first = message.split(" ", 1)[0]
    return first if first.startswith(("messages", "tools", "input")) else ""
