"""A message checked strictly: by the facts that it has to say, or, where only the expert's words are known, by those.

facts       every phrase of `say` and none of `never`; no amount, date or id beside those of `say` and `allow`; a
            question mark where it has to ask; sixty words at most
likeness    the words of a row from outside: more like the expert's than like anything that stands in the prompt, and of
            the expert's amounts, dates and ids half at least
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from environments.tool_call_pivot.tokens import content_words, figures, holds, likeness, tokens
from gym_core.errors import BadRow

MAX_WORDS = 60
LIKENESS = 0.4
"""Least share of common words with the expert's, small words left out."""
MAX_CHARS = 20_000
_CALL = re.compile(r"<\s*/?\s*(?:tool_call|function|invoke|parameter|tool_use)\b|\[TOOL_CALLS\]|```\s*tool_code", re.I)


@dataclass(slots=True, frozen=True)
class Facts:
    """What a message must say, may say of figures, and must not say; `ask`: it is a question."""

    say: tuple[str, ...]
    allow: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    ask: bool = False

    def packed(self) -> dict[str, Any]:
        return {"say": [*self.say], "allow": [*self.allow], "never": [*self.never], "ask": self.ask}


def facts_of(given: Any) -> Facts | None:
    """The facts of a row's or a task's `message_facts`, None where it has none. Raises `BadRow` naming the field."""
    if given is None:
        return None
    if not isinstance(given, dict) or not given.keys() <= {"say", "allow", "never", "ask"}:
        raise BadRow("`message_facts` is an object of `say`, `allow`, `never` and `ask`", field="message_facts")
    lists = {}
    for name in ("say", "allow", "never"):
        phrases = given.get(name, [])
        if not isinstance(phrases, list) or not all(isinstance(phrase, str) and tokens(phrase) for phrase in phrases):
            raise BadRow(f"`{name}` is a list of words, amounts, dates or ids", field=f"message_facts.{name}")
        lists[name] = tuple(phrases)
    if not lists["say"]:
        raise BadRow("a message that has to say nothing would be any message", field="message_facts.say")
    if not isinstance(given.get("ask", False), bool):
        raise BadRow("`ask` is true or false", field="message_facts.ask")
    return Facts(**lists, ask=given.get("ask", False))


def check_facts(text: str, facts: Facts) -> str:
    """Why a message does not say what it has to, or ""."""
    if why := _no_message(text):
        return why
    said = tokens(text)
    if len(said) > MAX_WORDS:
        return f"{len(said)} words, {MAX_WORDS} at most"
    if missing := [phrase for phrase in facts.say if not holds(said, phrase)]:
        return f"{len(missing)} of {len(facts.say)} facts are missing"
    if any(holds(said, phrase) for phrase in facts.never):
        return "something that does not belong here"
    known = figures(" ".join((*facts.say, *facts.allow)))
    if any(figure not in known for figure in figures(text)):
        return "an amount, date or id that was not asked for"
    return "no question" if facts.ask and "?" not in text else ""


def check_likeness(text: str, expected: str, told: list[str]) -> tuple[str, bool]:
    """Why a message is not like the expert's, or "", and whether that is certain; `told`: the texts of the prompt."""
    if why := _no_message(text):
        return why, True
    if text.split() == expected.split():
        return "", True
    said, wanted = content_words(text), content_words(expected)
    close = likeness(said, wanted)
    if any(likeness(said, content_words(one)) >= max(close, LIKENESS) for one in told):
        return "what the prompt says already", True
    if close < LIKENESS:
        return f"a likeness of {close:.2f} to the expert's words, {LIKENESS} at least", False
    of_expert, own = set(figures(expected)), set(figures(text))
    both = of_expert & own
    if 2 * len(both) < len(of_expert) or 2 * len(both) < len(own):
        return "other amounts, dates or ids than the expert's", False
    return "", False


def _no_message(text: str) -> str:
    if not text.strip():
        return "no message"
    if len(text) > MAX_CHARS:
        return "too long"
    return "a call written as text" if _CALL.search(text) else ""
