"""Output held to a grammar: a JSON Schema, a regular expression, a choice, or the tools' own call format.

    Constraint (what was asked for) ─▶ Grammars: compiled once, kept ─▶ Matcher, one a sample
    Matcher: the tokens that may come next ─▶ mask of the sampler ─▶ the drawn token ─▶ Matcher

llguidance does the matching; it is loaded when the first constraint arrives. Control tokens never match text, so no
string of a constrained answer can end a turn or open a call; once the grammar is complete only a stop token fits.
"""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from gym_core.errors import BadRequest, PolicyFault
from model.control_tokens import CONTROL_NAME
from model.tokenizer import Tokenizer
from policy_server.argument_text import slashes_escaped
from policy_server.remembered import Remembered

if TYPE_CHECKING:
    import llguidance

_SHOWN_SOURCE = re.compile(r"\s*\d+ \|")
_KEPT_BYTES = 64 << 20
_ONE_BYTES, _CHAR_BYTES = 192 << 10, 48
"""What a compiled grammar takes, and what each character of it adds: more than any that was measured, 0.12 MB for a
schema of 80 characters, 0.22 for 1,700, 1.8 for 84,000. The request's own copies of a schema are in it."""
_WHITESPACE = r"[ \n\t]{1,40}"
"""Between the parts of a JSON text: enough for any indentation, and never without end."""

JSON_OPTIONS = {"whitespace_flexible": True, "whitespace_pattern": _WHITESPACE}


@dataclass(slots=True, frozen=True)
class Constraint:
    """What an answer has to be: `text` is a JSON Schema, a regular expression or a Lark grammar.

    `field` is the request's field it came from. `chat` and `raw` are the fields that ask another OpenAI-compatible
    server for the same, on its chat and on its completions route.
    """

    kind: Literal["json_schema", "regex", "lark"]
    text: str
    field: str
    chat: Mapping[str, Any] = dataclass_field(default_factory=dict, compare=False)
    raw: Mapping[str, Any] = dataclass_field(default_factory=dict, compare=False)


class Matcher:
    """How far one sample has come in its grammar; belongs to the engine's thread."""

    def __init__(self, matcher: llguidance.LLMatcher, num_tokens: int) -> None:
        self._matcher, self._num_tokens = matcher, num_tokens
        self._words = np.zeros((num_tokens + 31) // 32, np.int32)

    def fill(self, allowed: np.ndarray) -> None:
        """Write bool[V]: what may come next. Raises `PolicyFault` when the grammar has grown beyond its limits."""
        self._matcher.unsafe_compute_mask_ptr(self._words.ctypes.data, self._words.nbytes)
        if self._matcher.is_error():
            raise PolicyFault(f"the output's grammar failed: {self._matcher.get_error()}", stage="grammar")
        bits = np.unpackbits(self._words.view(np.uint8), bitorder="little", count=self._num_tokens)
        allowed[: self._num_tokens] = bits
        allowed[self._num_tokens :] = False

    def push(self, token: int) -> None:
        """The token that was drawn."""
        self._matcher.consume_token(token)

    def begin(self) -> Matcher:
        """The same grammar for another sample, from its start."""
        return Matcher(self._matcher.deep_copy(), self._num_tokens)


class Grammars:
    """Compiles constraints for one tokenizer and keeps the last ones."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._kept = Remembered[Constraint, Matcher](_KEPT_BYTES)
        self._engine: llguidance.LLTokenizer | None = None

    async def compile(self, constraint: Constraint) -> Matcher:
        """A matcher at the grammar's start. Raises `BadRequest` for a grammar that cannot be held to."""
        found = self._kept.find(constraint)
        if found is None:
            # a large schema takes a while, and the compiler lets go of the interpreter's lock
            found = await asyncio.to_thread(self._compile, constraint)
            self._kept.keep(constraint, found, _ONE_BYTES + _CHAR_BYTES * len(constraint.text))
        return found

    def _compile(self, constraint: Constraint) -> Matcher:
        if importlib.util.find_spec("llguidance") is None:
            hint = "install llguidance where the policy server runs"
            raise BadRequest("this server cannot hold output to a grammar", field=constraint.field, hint=hint)
        from llguidance import LLMatcher

        if self._engine is None:
            self._engine = _engine_tokenizer(self._tokenizer)
        grammar = LLMatcher.grammar_from_lark(lark(constraint))
        failed, messages = LLMatcher.validate_grammar_with_warnings(grammar, self._engine)
        matcher = None if failed else LLMatcher(self._engine, grammar, log_level=0)
        if matcher is None or matcher.is_error():
            told = messages[0] if failed else matcher.get_error()  # type: ignore[union-attr]  # not failed: it is there
            hint = "leave out what is not supported, or ask without a constraint"
            raise BadRequest(f"output cannot be held to this: {_reason(told)}", field=constraint.field, hint=hint)
        return Matcher(matcher, self._engine.vocab_size)


def _reason(told: str) -> str:
    """What the compiler complains about, in one line, without the grammar that it shows."""
    lines = itertools.takewhile(lambda line: not _SHOWN_SOURCE.match(line), told.splitlines())
    return " ".join(word for line in lines for word in line.split() if word.strip("^"))


def lark(constraint: Constraint) -> str:
    """A constraint as Lark with JSON inside, whichever form it came in."""
    if constraint.kind == "lark":
        return constraint.text
    if constraint.kind == "regex":
        return f"start: /{slashes_escaped(constraint.text)}/\n"
    # a thought is followed by line breaks, which are no part of the answer
    return f"start: LEAD? json\nLEAD: /\\n{{1,2}}/\njson: {json_rule(msgspec.json.decode(constraint.text))}\n"


def json_rule(schema: Any) -> str:
    """A JSON text of this schema, as the right side of a Lark rule."""
    held = schema if isinstance(schema, dict) else {"anyOf": [schema]}
    return "%json " + msgspec.json.encode({**held, "x-guidance": JSON_OPTIONS}).decode()


def _engine_tokenizer(tokenizer: Tokenizer) -> llguidance.LLTokenizer:
    from llguidance import LLTokenizer, TokenizerWrapper

    eos, *others = sorted(tokenizer.stop_ids, reverse=True)
    return LLTokenizer(TokenizerWrapper(_Vocabulary(tokenizer)), eos_token=[eos, *others], slices=[])


class _Vocabulary:
    """What llguidance asks of a tokenizer: bytes of every id, which ones are control tokens, and how text is cut."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.eos_token_id, self.bos_token_id = max(tokenizer.stop_ids), tokenizer.bos_id
        self.tokens = [tokenizer.token_bytes(token) for token in range(tokenizer.vocab_size)]
        self.special_token_ids = [
            token for token, data in enumerate(self.tokens) if _is_control(tokenizer, token, data)
        ]

    def __call__(self, text: str | bytes) -> list[int]:
        data = text.encode() if isinstance(text, str) else text
        return self._tokenizer.encode(data.decode(errors="replace"), allow_special=False)


def _is_control(tokenizer: Tokenizer, token: int, data: bytes) -> bool:
    name = data.decode(errors="replace")
    return CONTROL_NAME.fullmatch(name) is not None and tokenizer.control_id(name) == token
