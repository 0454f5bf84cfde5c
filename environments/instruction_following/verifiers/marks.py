"""`punctuation:*` and `change_case:*`: signs that are not wanted, capitals and small letters."""

from __future__ import annotations

from typing import ClassVar

from environments.instruction_following.verifiers import kinds
from environments.instruction_following.verifiers.base import (
    AT_LEAST,
    LESS_THAN,
    Constraint,
    Draw,
    Kwargs,
    register,
    related,
)
from environments.instruction_following.verifiers.language import detected, may_be_english
from environments.instruction_following.verifiers.text import inject, words
from environments.instruction_following.verifiers.treebank import treebank_words
from environments.instruction_following.witness import Plan
from environments.instruction_following.words import NOT_EVEN_A_WORD


class _Without(Constraint):
    """A sign, and its likes in other scripts, nowhere in the reply; as published, only the ASCII one."""

    signs = ""
    called = ""

    def describe(self, given: Kwargs) -> str:
        return f"In your entire response, refrain from the use of {self.called}."

    def check(self, text: str, given: Kwargs) -> bool:
        return not any(sign in text for sign in self.signs)

    def published(self, text: str, given: Kwargs) -> bool:
        return self.signs[0] not in text

    def shape(self, plan: Plan, given: Kwargs) -> None:
        plan.marks = plan.marks.replace(self.signs[0], "")

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [text.replace(" ", f"{self.signs[0]} ", 1) if " " in text else text + self.signs[0]]


@register
class NoComma(_Without):
    """No comma, of any script; as published, only the ASCII one counts."""

    id = "punctuation:no_comma"
    signs = ",，、،"
    called = "any commas"


@register
class NoDot(_Without):
    """No full stop, decimal point or ellipsis, of any script; as published, only the ASCII one counts."""

    id = "punctuation:punctuation_dot"
    signs = ".．…。"
    called = "dots (.), as punctuation and in general"


@register
class NoExclamation(_Without):
    """No exclamation mark, of any script; as published, only the ASCII one counts."""

    id = "punctuation:punctuation_exclamation"
    signs = "!！"
    called = "exclamation marks (!)"


@register
class Capital(Constraint):
    """English, all in capitals."""

    id = "change_case:english_capital"
    approximate = True

    def describe(self, given: Kwargs) -> str:
        return "Your entire response should be in English, and in all capital letters."

    def check(self, text: str, given: Kwargs) -> bool:
        return text.isupper() and may_be_english(text)

    def published(self, text: str, given: Kwargs) -> bool:
        return text.isupper() and detected(text) in ("en", "")

    def shape(self, plan: Plan, given: Kwargs) -> None:
        plan.case = "upper"

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [text.lower()]


@register
class Lowercase(Constraint):
    """English, all in small letters."""

    id = "change_case:english_lowercase"
    approximate = True

    def describe(self, given: Kwargs) -> str:
        return "Your entire response should be in English, and in all lowercase letters."

    def check(self, text: str, given: Kwargs) -> bool:
        return text.islower() and may_be_english(text)

    def published(self, text: str, given: Kwargs) -> bool:
        return text.islower() and detected(text) in ("en", "")

    def shape(self, plan: Plan, given: Kwargs) -> None:
        plan.case = "lower"

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [text.upper()]


@register
class CapitalWords(Constraint):
    """Words in capitals at least, or less than, so many times."""

    id = "change_case:capital_word_frequency"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"capital_frequency": kinds.count, "capital_relation": kinds.relation}
    approximate = True

    def describe(self, given: Kwargs) -> str:
        relation, number = given["capital_relation"], given["capital_frequency"]
        return f"Words with all capital letters should appear {relation} {number} times."

    def sample(self, draw: Draw) -> Kwargs:
        relation = draw.relation()
        number = draw.count(1, 8) if relation == AT_LEAST else 12 - draw.count(1, 6)
        return {"capital_frequency": number, "capital_relation": relation}

    def check(self, text: str, given: Kwargs) -> bool:
        found = sum(word.isupper() for word in words(text))
        return related(found, given["capital_relation"], given["capital_frequency"])

    def published(self, text: str, given: Kwargs) -> bool:
        found = sum(token.isupper() for token in treebank_words(text))
        return related(found, given["capital_relation"], given["capital_frequency"])

    def shape(self, plan: Plan, given: Kwargs) -> None:
        if given["capital_relation"] == AT_LEAST:
            plan.num_capitals = given["capital_frequency"]

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        if given["capital_relation"] == LESS_THAN:
            return [inject(text, " ".join([NOT_EVEN_A_WORD.upper()] * max(given["capital_frequency"], 1)))]
        return [text.lower()]
