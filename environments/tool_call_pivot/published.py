"""The public verifier's reward, its weaknesses included: a message for a message, and calls by a loose comparison.

message expected      any first message is right, an empty one too; a call is wrong
call expected         same name, same keys, values by `same_value`; calls that are too many cost nothing
batch expected        a largest matching of expected and actual calls; all of them, or F1 where the agent counts calls

Source: NVIDIA-NeMo/Gym @ 07d6b0d0, `resources_servers/single_step_tool_use_with_argument_comparison` and the six
configurations beside it, which differ in the two numbers of `Comparator`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from environments.tool_call_pivot.actions import Action, Message
from environments.tool_call_pivot.arguments import read_expected, read_loose
from environments.tool_call_pivot.matching import matches

FLOAT_TOLERANCE = 1e-6


@dataclass(slots=True, frozen=True)
class Comparator:
    """How an agent's configuration compares: the least share of common words; whether the number of calls counts."""

    words: float = 0.1
    counts_calls: bool = False


_TAIL = "single_step_tool_use_with_argument_comparison_agent"
COMPARATORS = {
    f"search_pivot_{_TAIL}": Comparator(words=0.3),
    f"swe_pivot_{_TAIL}": Comparator(words=0.0),
    f"droid_pivot_{_TAIL}": Comparator(words=0.0),
    f"parallel_tool_calls_{_TAIL}": Comparator(counts_calls=True),
}
"""By the name in `agent_ref`; every other agent compares as `Comparator()` does."""


def comparator_of(agent_ref: Any) -> Comparator:
    name = agent_ref.get("name") if isinstance(agent_ref, dict) else None
    return COMPARATORS.get(name, Comparator()) if isinstance(name, str) else Comparator()


def reward(expected: Action, actual: Action | None, comparator: Comparator) -> tuple[float, str]:
    """The reward, and in a word why."""
    if actual is None:
        return 0.0, "no action"
    if isinstance(expected, Message):
        return (1.0, "a message") if isinstance(actual, Message) else (0.0, "a call where a message was expected")
    if isinstance(actual, Message):
        return 0.0, "a message where a call was expected"
    wanted, given = expected.calls, actual.calls
    matched = matches(
        [(call.name, read_expected(call.arguments)) for call in wanted],
        [(call.name, read_loose(call.arguments)) for call in given],
        lambda one, other: same_value(one, other, comparator.words),
    )
    if comparator.counts_calls and not len(wanted) == len(given) == 1:
        worth = 2 * matched / (len(wanted) + len(given))
    else:
        worth = float(matched == len(wanted))
    return worth, f"{matched} of {len(wanted)} calls, {len(given)} made"


def same_value(expected: Any, actual: Any, words: float) -> bool:
    """Values of one type that agree: true passes for 1 (not 1 for true), 5 and 5.0 differ, words may overlap."""
    if not isinstance(actual, type(expected)):
        return False
    if isinstance(expected, dict):
        return expected.keys() == actual.keys() and all(
            same_value(value, actual[key], words) for key, value in expected.items()
        )
    if isinstance(expected, list):
        return len(expected) == len(actual) and all(
            same_value(one, other, words) for one, other in zip(expected, actual, strict=True)
        )
    if isinstance(expected, float):
        return bool(abs(actual - expected) < FLOAT_TOLERANCE)
    return same_words(expected, actual, words) if isinstance(expected, str) else bool(expected == actual)


def same_words(expected: str, actual: str, least: float) -> bool:
    """Common words over the words of both, counted with repetition (0.5 at most); a lone word must be equal."""
    one, other = Counter(expected.strip().lower().split()), Counter(actual.strip().lower().split())
    if one.total() < 2 or other.total() < 2:
        return expected == actual
    return (one & other).total() / (one.total() + other.total()) >= least
