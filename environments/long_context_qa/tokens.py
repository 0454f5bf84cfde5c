"""How long a prompt is: in tokens of the policy's tokenizer where its file is known, else by a stated estimate.

Only the text of the prompt is counted, not what a chat template adds.

    estimate = digits + numbers after a space + marks + line breaks + words + letters / 16

A tokenizer of the policy's family cuts off every digit and the space before it, takes marks apart and most words whole;
long words cost more. Against a vocabulary of 131,072 of that family it is a sixth too high for documents and within one
in a hundred for lists of words (README).
"""

from __future__ import annotations

import hashlib
import random
import string
from collections.abc import Callable, Hashable
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from environments.long_context_qa.filler import sentences
from gym_core.errors import BadRequest

ESTIMATE = "estimate: digits + numbers after a space + marks + line breaks + words + letters/16"

_BLANKS = (b" ", b"\t", b"\r")
_FOLDED = bytes(
    0x61 if chr(byte) in string.ascii_letters or byte >= 0x80 else 0x30 if chr(byte) in string.digits else byte
    for byte in range(256)
)
"""Every letter, and every byte of a character beyond ASCII, as `a`; every digit as `0`."""

_WORDS_ALONE = bytes(byte if byte == 0x61 else 0x20 for byte in range(256))


class Counter(Hashable, Protocol):
    """Counts the tokens of a text. `name` is what a row says about it."""

    name: str

    def __call__(self, text: str) -> int: ...


class Estimate:
    """The stated estimate, for when no tokenizer is configured."""

    name = ESTIMATE

    def __call__(self, text: str) -> int:
        data = text.encode()
        folded = data.translate(_FOLDED)
        words = folded.translate(_WORDS_ALONE)
        letters = folded.count(b"a")
        others = len(data) - letters - sum(map(data.count, _BLANKS))
        return others + folded.count(b" 0") + len(words.split()) + letters // 16


class TokenizerFile:
    """The tokens of a `tokenizer.json`; special tokens are not added."""

    def __init__(self, path: Path) -> None:
        try:
            import tokenizers
        except ModuleNotFoundError:
            raise BadRequest(
                "counting with a tokenizer needs the library `tokenizers`",
                field="long_context_qa.tokenizer",
                hint="pip install tokenizers, or leave PALAESTRA_LONG_CONTEXT_QA_TOKENIZER out for the estimate",
            ) from None
        try:
            data = path.read_bytes()
            self._tokenizer = tokenizers.Tokenizer.from_buffer(data)
        except Exception as error:  # the library raises bare Exception for a file that is no tokenizer
            raise BadRequest(
                f"cannot read the tokenizer {path}: {error}",
                field="long_context_qa.tokenizer",
                hint="PALAESTRA_LONG_CONTEXT_QA_TOKENIZER is the path of a tokenizer.json",
            ) from None
        self._tokenizer.no_truncation()
        self.name = f"{path.name} blake2b:{hashlib.blake2b(data, digest_size=6).hexdigest()}"

    def __call__(self, text: str) -> int:
        return len(self._tokenizer.encode_batch_fast([text], add_special_tokens=False)[0])


@lru_cache(maxsize=4)
def counter(tokenizer: str) -> Counter:
    """The counter of this tokenizer file; the estimate for ""."""
    return TokenizerFile(Path(tokenizer)) if tokenizer else Estimate()


@lru_cache(maxsize=4)
def sentence_tokens(count: Counter) -> float:
    """What one sentence of filler costs on average."""
    sample = sentences(random.Random(0), 400)
    return count(" ".join(sample)) / len(sample)


AIM = 0.985
"""Share of the budget that is aimed at first."""

ENOUGH = 0.9
"""Share of the budget under which a text is made longer once more."""


class Crowded(BadRequest):
    """What must be said does not fit into the budget."""


def fit(build: Callable[[int], str], budget: int, count: Counter, each: float) -> tuple[str, int]:
    """A text of at most `budget` tokens and its tokens; `build(n)` gives one with n items of about `each` tokens.

    Raises `Crowded` where not even `build(0)` fits.
    """
    base = count(build(0))
    if base > budget:
        raise Crowded(
            f"the shortest task of this level needs {base} tokens of its {budget} ({count.name})",
            field="level",
            hint="draw from a higher level, or count with a tokenizer of a larger vocabulary",
        )
    room = AIM * budget - base
    items = max(0, int(room / each))
    grown = False
    while True:
        text = build(items)
        used = count(text)
        if items and used > base:
            each = (used - base) / items
        if used > budget:
            items = max(0, min(items - 1, int(room / each)))
        elif used < ENOUGH * budget and not grown:
            grown = True
            items = max(items, int(room / each))
        else:
            return text, used
