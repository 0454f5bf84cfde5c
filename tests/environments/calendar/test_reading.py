"""Which list of a reply is its calendar, and how long the search may take."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from environments.calendar.expected import Constraint, Wanted
from environments.calendar.grading import grade_strict
from environments.calendar.reading import Entry, Unreadable, read_calendar

EVENT = {"event_id": 0, "event_name": "x", "start_time": "10:00", "duration": 60}
READ = Entry(0, "x", 600, 60)
WANTED = [Wanted.of(0, 60, Constraint(), "x")]


@pytest.mark.parametrize(
    ("text", "events"),
    [
        ("[]", []),
        (json.dumps([EVENT]), [READ]),
        (f"[1] [2, 3] {json.dumps([EVENT])} [note]", [READ]),
        (f"[] then {json.dumps([EVENT])}", [READ]),
        (f"{json.dumps([EVENT])} then []", []),
        (f"[open: {json.dumps([EVENT])}", [READ]),
        (json.dumps({"calendar": [EVENT]}), [READ]),
        (json.dumps([{**EVENT, "note": "more", "tags": [1, [2]]}]), [READ]),
    ],
)
def test_the_last_list_of_objects_counts(text, events):
    assert read_calendar(text) == events


@pytest.mark.parametrize("text", ["", "[", "]", "{}", "[[{}]]", "[1]", '["a"]', "[{}", "[" * 500 + "]" * 500])
def test_texts_without_a_calendar(text):
    with pytest.raises(Unreadable):
        read_calendar(text)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 390_000,
        "[x" * 190_000,
        '["' * 190_000,
        '[{"a":' * 60_000,
        '[{"a":[{"b":' * 30_000,
        '["\\"' * 90_000,
        "[" + "{}" * 150_000,
        "[{},\n" * 75_000,
        "[" + "9" * 390_000,
        "x" * 500_000 + "[]",
    ],
    ids=lambda text: text[:6],
)
def test_hostile_texts_take_linear_time(text):
    began = time.process_time()
    assert grade_strict(WANTED, text)[0] == 0.0
    assert time.process_time() - began < 3.0


@given(st.text(alphabet='[]{}",:0a \\', max_size=60))
@settings(max_examples=200, deadline=None)
def test_no_text_makes_the_reader_raise_anything_else(text):
    assert grade_strict(WANTED, text)[0] == 0.0


@pytest.mark.parametrize("name", ["x", " X ", "x\n"])
def test_case_and_spaces_of_a_name_do_not_count(name):
    assert grade_strict(WANTED, json.dumps([{**EVENT, "event_name": name}])) == (1.0, "as wanted")


def test_another_name_does_count():
    assert grade_strict(WANTED, json.dumps([{**EVENT, "event_name": "y"}])) == (0.0, "event 0 has another name")
