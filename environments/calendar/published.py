"""The public verifier's reward for a calendar, its weaknesses included (NVIDIA-NeMo/Gym @ 07d6b0d0, `calendar`).

    last output item ─▶ `<think>`: 0 ─▶ nothing expected: 1 ─▶ first JSON list of objects ─▶ as many ids as expected
      ─▶ no overlap ─▶ each expected id: duration, day, constraint ─▶ 1 | 0

Whatever raises there is 0 there. Where its regular expression or its comparison of all pairs would not come back, the
reward is 0 here and the reason says so (`HANGS`).
"""

from __future__ import annotations

import json
from itertools import combinations
from typing import Any

from environments.calendar.first_list import MAX_STEPS, first_list
from environments.calendar.times import lenient_minutes

HANGS = "outlasts the public verifier"
MAX_ENTRIES = 3000
"""Entries of one list; the public verifier compares each with each, a quarter of a minute for so many."""

Entry = dict[str, Any]


def seen_text(items: list[dict[str, Any]]) -> str:
    """The text that is graded: the first part of the last output item, whatever kind of item that is."""
    content = items[-1].get("content") if items else None
    if isinstance(content, list) and content and isinstance(content[0], dict):
        content = content[0].get("text")
    return content if isinstance(content, str) else ""


def grade_published(expected: dict[str, Entry], text: str) -> tuple[float, str]:
    """Reward and reason; `expected` is `exp_cal_state` without its null padding."""
    if not text:
        return 0.0, "no text"
    if "<think>" in text:
        return 0.0, "think_found"
    if not expected:
        return 1.0, "pass"
    found, steps = first_list(text)
    if steps > MAX_STEPS:
        return 0.0, HANGS
    try:
        reason = _judge(json.loads(found), expected) if found is not None else "no_json_list"
    except json.JSONDecodeError:
        reason = "no_json_list"
    except (ArithmeticError, AttributeError, KeyError, RecursionError, TypeError, ValueError):
        reason = "error_in_grading"
    return float(reason == "pass"), reason


def _judge(calendar: list[Any], expected: dict[str, Entry]) -> str:
    events = {str(event["event_id"]): event for event in calendar}
    if len(events) != len(expected):
        return "different_number_of_events"
    if len(calendar) > MAX_ENTRIES:
        return HANGS
    if _conflicting(calendar):
        return "conflicting_events"
    if not all(_satisfied(events[event_id], wanted) for event_id, wanted in expected.items()):
        return "constraint_violated"
    return "pass"


def _conflicting(calendar: list[Entry]) -> bool:
    """Whether two entries overlap that are not equal. Equal ones never do: the public verifier skips them."""
    spans = []
    for event in calendar:
        start = lenient_minutes(event["start_time"])
        spans.append((start, start + event["duration"], event))
    return any(
        not (end <= other_start or start >= other_end) and event != other
        for (start, end, event), (other_start, other_end, other) in combinations(spans, 2)
    )


def _satisfied(event: Entry, wanted: Entry) -> bool:
    if event["duration"] != wanted["duration"]:
        return False
    start = lenient_minutes(event["start_time"])
    end = start + event["duration"]
    if start < lenient_minutes(wanted["min_time"]) or end > lenient_minutes(wanted["max_time"]):
        return False
    constraint = wanted["constraint"]
    if constraint is None:
        return True
    kind, _, rest = constraint.partition(" ")
    if kind == "before":
        return bool(end <= lenient_minutes(rest))
    if kind == "after":
        return bool(start >= lenient_minutes(rest))
    if kind == "at":
        return bool(start == lenient_minutes(rest))
    if kind == "between":
        first, second = rest.split(" and ")
        return bool(start >= lenient_minutes(first) and end <= lenient_minutes(second))
    return True
