"""`count:*` of signs: numbers, punctuation marks, and words in Japanese script."""

from __future__ import annotations

import re
from typing import ClassVar

from environments.instruction_following.verifiers import kinds
from environments.instruction_following.verifiers.base import Constraint, Draw, Kwargs, register
from environments.instruction_following.verifiers.benchmark.bare import bare, without_punctuation
from environments.instruction_following.verifiers.text import has_word, inject
from environments.instruction_following.witness import Plan
from environments.instruction_following.words import FILLER, NOT_EVEN_A_WORD

_NUMBER = re.compile(r"(?:\d{1,3}(?:,\d{3})++(?!\d)|\d++)(?:\.\d++)?")
_DIGITS = re.compile(r"\d+")
_JAPANESE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")
_MARKS = frozenset(".,!?;:")
_INTERROBANGS = ("?!", "!?", "‽")
_JAPANESE_WORDS = ("ことば", "やま", "かわ", "そら", "はな", "いえ", "みず", "つき", "ほし", "うみ")


@register
class Numbers(Constraint):
    """Exactly so many numbers: `3.14` and `100,000` are one each, `10-20` is two; as published, `10-20` is one."""

    id = "count:numbers"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"N": kinds.count}
    benchmark = True

    def describe(self, given: Kwargs) -> str:
        return f"Include exactly {given['N']} numbers in the response."

    def sample(self, draw: Draw) -> Kwargs:
        return {"N": draw.count(1, 8)}

    def check(self, text: str, given: Kwargs) -> bool:
        return len(_NUMBER.findall(text)) == given["N"]

    def published(self, text: str, given: Kwargs) -> bool:
        return len(_DIGITS.findall(without_punctuation(text))) == given["N"]

    def shape(self, plan: Plan, given: Kwargs) -> None:
        plan.include += [str(plan.rng.randint(2, 999)) for _ in range(given["N"])]

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [inject(text, "7")]


@register
class PunctuationCover(Constraint):
    """Every one of `. , ! ? ; :` and an interrobang, which does not stand in for its halves."""

    id = "count:punctuation"
    benchmark = True
    solo = True

    def describe(self, given: Kwargs) -> str:
        return (
            "Use every standard punctuation mark at least once, including semicolons, colons, and the interrobang (?!)."
        )

    def check(self, text: str, given: Kwargs) -> bool:
        for sign in _INTERROBANGS:
            if sign in text:
                return set(text.replace(sign, "", 1)) >= _MARKS
        return False

    def published(self, text: str, given: Kwargs) -> bool:
        if not any(sign in text for sign in _INTERROBANGS):
            return False
        rest = text.replace("?!", "", 1)
        if rest == text:
            rest = text.replace("!?", "", 1)
        return set(rest) >= _MARKS

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        a, b, c, d, e, f, g = draw.rng.sample(FILLER, 7)
        return f"{a}, {' '.join(keywords)} {b}; {c}: {d}. {e}! {f}? {g}?!"

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [text.replace(";", "")]


@register
class WordsJapanese(Constraint):
    """Every N-th word in Japanese script, of which there is at least one; as published, a shorter text has none."""

    id = "count:words_japanese"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"N": kinds.positive}
    benchmark = True
    solo = True

    def describe(self, given: Kwargs) -> str:
        return f"Counting from the start, every word whose number is a multiple of {given['N']} must be in Japanese."

    def sample(self, draw: Draw) -> Kwargs:
        return {"N": draw.count(2, 9)}

    def check(self, text: str, given: Kwargs) -> bool:
        found = [word for word in text.split() if has_word(word)]
        due = found[given["N"] - 1 :: given["N"]]
        return bool(due) and all(_JAPANESE.search(word) for word in due)

    def published(self, text: str, given: Kwargs) -> bool:
        due = [bare(word) for word in text.split()[given["N"] - 1 :: given["N"]]]
        return all(_JAPANESE.search(word) for word in due if word and not word.isdigit())

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        made: list[str] = []
        plain = iter([*keywords, *draw.rng.sample(FILLER, 3 * given["N"])])
        while len(made) < 2 * given["N"] + len(keywords):
            japanese = (len(made) + 1) % given["N"] == 0
            made.append(draw.rng.choice(_JAPANESE_WORDS) if japanese else next(plain))
        return " ".join(made) + "."

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [" ".join(NOT_EVEN_A_WORD if _JAPANESE.search(word) else word for word in text.split())]
