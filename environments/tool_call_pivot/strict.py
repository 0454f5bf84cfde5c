"""Calls compared strictly. Whatever is paid here the published comparison pays too; it also pays these, we do not:

another number of calls, the same one twice, words beside a call, a tool that was not declared
arguments with a key twice, NaN or Infinity      true for 1, floats that differ at all
sentences that share a fifth of their words      we want half of them, and the same amounts, dates and ids
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from environments.tool_call_pivot.actions import ToolUse
from environments.tool_call_pivot.arguments import UNREADABLE, read_expected, read_strict
from environments.tool_call_pivot.matching import matches
from environments.tool_call_pivot.published import Comparator, same_words
from environments.tool_call_pivot.tokens import content_words, figures, likeness

MIN_SENTENCE = 4
"""Words from which on a text is a sentence, of which there are many forms, and not a name or an id."""
LIKENESS = 0.5


def check_calls(
    expected: tuple[ToolUse, ...], actual: tuple[ToolUse, ...], *, text: str, declared: Iterable[str], exact: bool
) -> str:
    """Why these calls are not the expected ones, or "". With `exact` sentences must be equal too."""
    if not actual:
        return "no call"
    if text.strip():
        return "words beside the call"
    if len(actual) != len(expected):
        return f"{len(actual)} calls where {len(expected)} were expected"
    known = set(declared)
    if known and any(call.name not in known for call in actual):
        return "a tool that is not declared"
    if Counter(call.name for call in actual) != Counter(call.name for call in expected):
        return "another tool"
    given = [(call.name, read_strict(call.arguments)) for call in actual]
    if any(value is UNREADABLE for _, value in given):
        return "arguments that are no JSON object, or have a key twice"
    wanted = [(call.name, read_expected(call.arguments)) for call in expected]
    same = str.__eq__ if exact else same_sentence
    found = matches(wanted, given, lambda one, other: identical(one, other, same))
    return "" if found == len(wanted) else "other arguments"


def identical(expected: Any, actual: Any, same_text: Callable[[str, str], bool]) -> bool:
    """The same JSON value, types included (true is not 1, 5 is not 5.0), texts compared by `same_text`."""
    if type(actual) is not type(expected):
        return False
    if isinstance(expected, str):
        return same_text(expected, actual)
    if isinstance(expected, dict):
        return expected.keys() == actual.keys() and all(
            identical(value, actual[key], same_text) for key, value in expected.items()
        )
    if isinstance(expected, list):
        return len(expected) == len(actual) and all(
            identical(one, other, same_text) for one, other in zip(expected, actual, strict=True)
        )
    return bool(expected == actual)


def same_sentence(expected: str, actual: str) -> bool:
    """Equal, or two sentences of half the same words (small ones left out) and all the same amounts, dates and ids."""
    if expected == actual:
        return True
    one, other = expected.casefold().split(), actual.casefold().split()
    if min(len(one), len(other)) < MIN_SENTENCE:
        return len(one) > 1 and one == other
    if not same_words(expected, actual, Comparator().words) or figures(expected) != figures(actual):
        return False
    return likeness(content_words(expected), content_words(actual)) >= LIKENESS
