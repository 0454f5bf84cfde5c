"""What a person wishes of an answer besides its being right: said in words, checked by rule, kept by the oracle."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field

_WORD = re.compile(r"[A-Za-z0-9'’-]+")
_SENTENCE_END = re.compile(r"[.!?]+(?=\s|$)")
FILLERS = ("That is all.", "I checked it twice.", "Ask me again any time.", "It took a moment.")


@dataclass(slots=True)
class Draft:
    """An answer under construction: `core` is the sentence that holds the answer."""

    core: str
    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return " ".join([*self.before, self.core, *self.after])


@dataclass(frozen=True, slots=True)
class Wish:
    """A kind of wish and its value, which both say everything: `ask` words it, `kept` checks it."""

    kind: str
    value: str

    def ask(self) -> str:
        return KINDS[self.kind].ask.format(self.value)

    def kept(self, text: str) -> bool:
        return KINDS[self.kind].kept(text.strip(), self.value)


@dataclass(frozen=True, slots=True)
class Kind:
    """How a wish is worded, checked, drawn, and worked into a draft."""

    ask: str
    kept: Callable[[str, str], bool]
    draw: Callable[[random.Random, Draft], str]
    work: Callable[[Draft, str], None]


def words(text: str) -> list[str]:
    return _WORD.findall(text)


def _nothing(draft: Draft, value: str) -> None:
    return None


def _greet(draft: Draft, value: str) -> None:
    draft.before.insert(0, f"{value},")
    draft.core = draft.core[0].lower() + draft.core[1:]


def _pad(draft: Draft, value: str) -> None:
    for filler in FILLERS:
        if len(_SENTENCE_END.findall(draft.text)) >= int(value):
            return
        draft.after.insert(0, filler)


NAMES = ("Kim", "Ola", "Raj", "Mia", "Tom", "Ida", "Leo", "Eva", "Max", "Zoe", "Ben", "Lin")
THANKS = ("Thanks for asking.", "Have a good day.", "See you soon.", "Take care.", "All the best.", "Good luck.")
AVOIDED = ("sorry", "certainly", "however", "please", "really", "basically", "absolutely", "actually")

_MARKS = {
    "Markdown": ("*", "#", "`", "_"),
    "brackets": ("(", ")", "[", "]", "{", "}"),
    "quotation marks": ('"', "“", "”"),
}

KINDS: dict[str, Kind] = {
    "brief": Kind(
        "Use at most {} words.",
        lambda text, value: 0 < len(words(text)) <= int(value),
        lambda rng, draft: str(len(words(draft.text)) + rng.randint(2, 8)),
        _nothing,
    ),
    "greet": Kind(
        "Begin with the word {}, followed by a comma.",
        lambda text, value: text.startswith(f"{value}, "),
        lambda rng, draft: rng.choice(NAMES),
        _greet,
    ),
    "close": Kind(
        "End with exactly: {}",
        lambda text, value: text.endswith(value) and text.count(value) == 1,
        lambda rng, draft: rng.choice(THANKS),
        lambda draft, value: draft.after.append(value),
    ),
    "avoid": Kind(
        "Do not use the word {}.",
        lambda text, value: value not in [word.lower() for word in words(text)],
        lambda rng, draft: rng.choice(AVOIDED),
        _nothing,
    ),
    "sentences": Kind(
        "Write exactly {} sentences.",
        lambda text, value: len(_SENTENCE_END.findall(text)) == int(value) and text[-1:] in ".!?",
        lambda rng, draft: str(len(_SENTENCE_END.findall(draft.text)) + rng.randint(1, 2)),
        _pad,
    ),
    "plain": Kind(
        "Write plain text without any {}.",
        lambda text, value: not any(mark in text for mark in _MARKS[value]),
        lambda rng, draft: rng.choice(list(_MARKS)),
        _nothing,
    ),
}
ORDER = ("greet", "close", "sentences", "avoid", "plain", "brief")
"""In which wishes are worked in: the limit on words comes last, when the answer stands."""


def draw_wishes(rng: random.Random, draft: Draft, count: int) -> list[Wish]:
    """So many different wishes, the draft changed so that it keeps them all. One of them is always a limit on words:
    without it, padding would cost nothing."""
    kinds = sorted([*rng.sample(ORDER[:-1], count - 1), ORDER[-1]], key=ORDER.index)
    drawn = []
    for kind in kinds:
        value = KINDS[kind].draw(rng, draft)
        KINDS[kind].work(draft, value)
        drawn.append(Wish(kind, value))
    return drawn
