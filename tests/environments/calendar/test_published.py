"""The public rule where it is odd: each figure here was also given by the public verifier itself."""

import json
import time

import pytest

from environments.calendar.published import HANGS, MAX_ENTRIES, grade_published

WANTED = {"0": {"event_id": 0, "duration": 60, "constraint": None, "min_time": "10:00", "max_time": "16:00"}}


def entry(**fields):
    return {"event_id": 0, "start_time": "10:00", "duration": 60, **fields}


@pytest.mark.parametrize(
    ("calendar", "reason"),
    [
        ([entry()], "pass"),
        ([entry(start_time="3pm")], "pass"),
        ([entry(duration=60.0)], "pass"),
        ([entry(event_id="0")], "pass"),
        ([entry(), entry()], "pass"),
        ([entry(start_time="12:00"), entry()], "pass"),
        ([entry(), entry(start_time="10:30")], "conflicting_events"),
        ([entry(event_id=1)], "error_in_grading"),
        ([entry(start_time=600)], "error_in_grading"),
        ([entry(duration="60")], "error_in_grading"),
        ([entry(), 5], "error_in_grading"),
        ([entry(start_time="15:30")], "constraint_violated"),
        ([entry(), entry(event_id=1, start_time="12:00")], "different_number_of_events"),
    ],
)
def test_reasons(calendar, reason):
    assert grade_published(WANTED, json.dumps(calendar)) == (float(reason == "pass"), reason)


def test_what_would_hang_says_so_at_once():
    began = time.process_time()
    assert grade_published(WANTED, "[" + "{}" * 30) == (0.0, HANGS)
    assert grade_published(WANTED, json.dumps([entry()] * (MAX_ENTRIES + 1))) == (0.0, HANGS)
    assert time.process_time() - began < 2.0


@pytest.mark.parametrize("digits", [5000, 50])
def test_endless_numbers_and_nesting_are_errors(digits):
    text = json.dumps([entry()]).replace("60", "9" * digits)
    assert grade_published(WANTED, text)[0] == 0.0
    assert grade_published(WANTED, '[{"a": ' + "[" * 5000 + "}, {}]")[0] == 0.0
