"""What a last response must satisfy, each item twice: a question for a judge, and an exact check of the same.

item = kind + value ─▶ question(item)      asked of a judge, whose YES or NO is compared with …
                    ─▶ holds(item, text)   … what is really so
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MAX_CHARS = 20_000
"""No dialogue asks for more; what is longer is not read to its end, and wrong."""

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_NUMBER = re.compile(r"(?<![\w.,])-?\d+(?:[.,:]\d+)*(?!\w)")


@dataclass(frozen=True, slots=True)
class Item:
    """`value` is text, a number of words, or a list of lines or names; `core` items hold the answer itself."""

    kind: str
    value: Any
    core: bool = False

    @property
    def question(self) -> str:
        """A yes-or-no question whose right answer is YES exactly where the item holds."""
        value = self.value
        shown = " | ".join(map(str, value)) if isinstance(value, list) else value
        return KINDS[self.kind].question.format(shown)

    def holds(self, text: str) -> bool:
        return KINDS[self.kind].holds(text.strip(), self.value)

    def packed(self) -> list[Any]:
        """As it lies among a task's hidden fields."""
        return [self.kind, self.value, self.core]


@dataclass(frozen=True, slots=True)
class Kind:
    """How an item is worded and checked."""

    question: str
    holds: Callable[[str, Any], bool]


def words(text: str) -> list[str]:
    """Its words in lower case."""
    return [word.casefold() for word in _WORD.findall(text)]


def numbers(text: str) -> list[str]:
    """Everything in digits, as it is written; `12b` and `x7` count as something else."""
    return _NUMBER.findall(text) if not re.search(r"\d", _NUMBER.sub("", text)) else []


def _lines(text: str) -> list[str]:
    return [line.strip().casefold() for line in text.splitlines() if line.strip()]


def _only(text: str, value: list[str]) -> bool:
    """The first of the names is there, none of the others."""
    said = " ".join(words(text))
    found = [name for name in value if re.search(rf"(?<!\w){re.escape(' '.join(words(name)))}(?!\w)", said)]
    return found == value[:1]


def _ends(text: str, value: str) -> bool:
    return text.casefold().endswith(value.casefold())


def _starts(text: str, value: str) -> bool:
    return words(text)[:1] == [value.casefold()]


KINDS: dict[str, Kind] = {
    "number": Kind(
        "Is {} the one and only number (in digits) in the response?",
        lambda text, value: numbers(text) == [str(value)],
    ),
    "only": Kind("Of these names, does the response contain the first and none of the others: {}?", _only),
    "lines": Kind(
        "Does the response consist of exactly these lines, in this order and nothing else: {}? (Letter case aside.)",
        lambda text, value: _lines(text) == [line.casefold() for line in value],
    ),
    "exact": Kind(
        "Is the response exactly this text and nothing else: {}? (A final full stop aside.)",
        lambda text, value: text.removesuffix(".") == value,
    ),
    "ends": Kind("Are the last words of the response: {} (letter case aside)?", _ends),
    "starts": Kind("Is the first word of the response: {} (letter case aside)?", _starts),
    "at_most": Kind("Has the response at most {} words?", lambda text, value: 0 < len(words(text)) <= int(value)),
    "at_least": Kind("Has the response at least {} words?", lambda text, value: len(words(text)) >= int(value)),
    "without": Kind(
        "Is the response free of the word: {} (letter case aside)?",
        lambda text, value: value.casefold() not in words(text),
    ),
    "upper": Kind(
        "Are all letters of the response {} letters?",
        lambda text, value: text == text.upper() and any(mark.isalpha() for mark in text),
    ),
    "no_comma": Kind("Is the response free of {}?", lambda text, value: "," not in text),
}


def unpacked(packed: list[list[Any]]) -> list[Item]:
    """The items of a task."""
    return [Item(kind, value, core) for kind, value, core in packed]


def grade(items: list[Item], text: str) -> tuple[float, list[bool]]:
    """The share of items that hold, 0 where the answer itself is wrong; and which of them hold."""
    held = [item.holds(text[:MAX_CHARS]) for item in items]
    if (
        not text.strip()
        or len(text) > MAX_CHARS
        or not all(fine for item, fine in zip(items, held, strict=True) if item.core)
    ):
        return 0.0, held
    return sum(held) / len(held), held
