"""`format:parentheses`, `format:quotes`, `format:quote_unquote`: signs inside signs, and what follows a quotation."""

from __future__ import annotations

import re
from string import digits, punctuation

from environments.instruction_following.verifiers.base import Constraint, Draw, Kwargs, register
from environments.instruction_following.verifiers.text import has_word
from environments.instruction_following.witness import Plan
from environments.instruction_following.words import FILLER, NOT_EVEN_A_WORD

_CLOSING = {")": "(", "]": "[", "}": "{"}
_CURLY = str.maketrans({"“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "‘": "'", "’": "'"})
_APOSTROPHE = re.compile(r"(?<=[^\W_])'(?=[^\W_])")
BRACKET_LEVELS, QUOTE_LEVELS = 5, 3


@register
class Parentheses(Constraint):
    """Brackets five deep, each closed by its own kind, with something to read; as published, one closed is enough."""

    id = "format:parentheses"
    benchmark = True

    def describe(self, given: Kwargs) -> str:
        return "Nest parentheses (and [brackets {and braces}]) at least 5 levels deep."

    def check(self, text: str, given: Kwargs) -> bool:
        opened: list[tuple[str, int, int]] = []  # sign, place, levels inside
        for at, sign in enumerate(text):
            if sign in "([{":
                opened.append((sign, at, 0))
            elif sign in _CLOSING:
                if not opened or opened[-1][0] != _CLOSING[sign]:
                    opened = []
                    continue
                _, start, inside = opened.pop()
                if inside + 1 >= BRACKET_LEVELS and has_word(text[start:at]):
                    return True
                if opened:
                    opened[-1] = (*opened[-1][:2], max(opened[-1][2], inside + 1))
        return False

    def published(self, text: str, given: Kwargs) -> bool:
        opened, deepest = [], 0
        for sign in text:
            if sign in "([{":
                opened.append(sign)
                deepest = max(deepest, len(opened))
            elif sign in _CLOSING and opened and opened[-1] == _CLOSING[sign]:
                if deepest >= BRACKET_LEVELS:
                    return True
                opened.pop()
            elif sign in _CLOSING:
                opened, deepest = [], 0
        return False

    def shape(self, plan: Plan, given: Kwargs) -> None:
        a, b, c, d, e = plan.rng.sample(FILLER, 5)
        plan.include.append(f"({a} [{b} {{{c} ({d} [{e}])}}])")

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [text.replace("(", "").replace(")", ""), re.sub(r"[()\[\]{}]", "", text)]


@register
class Quotes(Constraint):
    """Quotations three deep, double and single signs in turn, words in the innermost; an apostrophe is no quote."""

    id = "format:quotes"
    benchmark = True

    def describe(self, given: Kwargs) -> str:
        return (
            "Include quotes within quotes within quotes, at least 3 levels deep, alternating between double quotes and "
            "single quotes."
        )

    def check(self, text: str, given: Kwargs) -> bool:
        body = _APOSTROPHE.sub("ʼ", text.translate(_CURLY))
        opened: list[tuple[str, int, int]] = []
        for at, sign in enumerate(body):
            if sign not in "\"'":
                continue
            if not opened or opened[-1][0] != sign:
                opened.append((sign, at, 0))
                continue
            _, start, inside = opened.pop()
            if inside + 1 >= QUOTE_LEVELS and has_word(body[start:at]):
                return True
            if opened:
                opened[-1] = (*opened[-1][:2], max(opened[-1][2], inside + 1))
        return False

    def published(self, text: str, given: Kwargs) -> bool:
        opened: list[str] = []
        deepest = 0
        for sign in text:
            if opened and sign == opened[-1]:
                opened.pop()
                if deepest - len(opened) >= QUOTE_LEVELS:
                    return True
            elif sign in "\"'":
                opened.append(sign)
                deepest = max(deepest, len(opened))
        return False

    def shape(self, plan: Plan, given: Kwargs) -> None:
        a, b, c = plan.rng.sample(FILLER, 3)
        plan.include.append(f'"{a} \'{b} "{c}" {a}\' {b}"')

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [text.replace("'", ""), text.replace("'", "").replace('"', "")]


@register
class QuoteUnquote(Constraint):
    """Words follow every quotation, of which there is one; as published, no quotation is fine too."""

    id = "format:quote_unquote"
    benchmark = True
    solo = True

    def describe(self, given: Kwargs) -> str:
        return "Quote at least one phrase; every quoted phrase must be followed by an unquoted explanation."

    def check(self, text: str, given: Kwargs) -> bool:
        parts = text.translate(_CURLY).split('"')
        quoted, after = parts[1::2], parts[2::2]
        return bool(quoted) and len(quoted) == len(after) and all(map(has_word, [*quoted, *after]))

    def published(self, text: str, given: Kwargs) -> bool:
        body = "".join(text.replace("'\"'", "").split())
        return '""' not in body and not body.strip(digits + punctuation.replace('"', "")).endswith('"')

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        a, b, c, d, e = draw.rng.sample(FILLER, 5)
        return f'"{a} {b}" {" ".join(keywords)} {c}. "{d}" {e}.'

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f'{text} "{NOT_EVEN_A_WORD}"', text.replace('"', "")]
