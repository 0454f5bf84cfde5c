"""Published rows go in unchanged and can be solved; what no reply could satisfy is refused, with the field."""

import json

import pytest

from environments.calendar.environment import Calendar
from gym_core.contracts import Task
from gym_core.environment import Session
from gym_core.errors import BadRow
from gym_core.reply import read_reply, text_output

ENVIRONMENT = Calendar()


def event(**fields):
    return {"event_id": 0, "duration": 60, "constraint": None, "min_time": "10:00", "max_time": "16:00", **fields}


def row(state):
    return {"responses_create_params": {"input": "Calendar, please."}, "exp_cal_state": state}


def ingest(raw):
    return ENVIRONMENT.ingest(Task.from_row(raw, "calendar"))


def rewards(task, text):
    reply = read_reply(text_output(text))
    session = Session("s", task)
    return ENVIRONMENT.verify(task, session, reply).reward, ENVIRONMENT.verify_published(task, session, reply).reward


def test_published_rows_are_ingested_unchanged_and_can_be_solved(published_rows):
    for line in (published_rows / "calendar.jsonl").read_text().splitlines():
        raw = json.loads(line)
        task = ingest(raw)
        sent = task.to_row()
        assert {name: sent[name] for name in raw} == raw
        assert rewards(task, ENVIRONMENT.oracle(task)) == (1.0, 1.0)
        assert rewards(task, "") == (0.0, 0.0)
        assert rewards(task, "[]") == (0.0, 0.0)


def test_null_padding_does_not_count():
    task = ingest(row({"0": event(), "1": None, "2": None}))
    assert rewards(task, ENVIRONMENT.oracle(task)) == (1.0, 1.0)
    assert task.to_row()["exp_cal_state"]["1"] is None


def test_an_empty_calendar_must_be_stated():
    """The public verifier pays any text here."""
    for state in ({}, {"0": None}):
        task = ingest(row(state))
        assert rewards(task, ENVIRONMENT.oracle(task)) == (1.0, 1.0)
        assert rewards(task, "Nothing to do, []") == (1.0, 1.0)
        assert rewards(task, "whatever") == (0.0, 1.0)


@pytest.mark.parametrize(
    ("state", "field"),
    [
        (None, "exp_cal_state"),
        ([], "exp_cal_state"),
        ({"0": []}, "exp_cal_state.0"),
        ({"x": event()}, "exp_cal_state.x"),
        ({"00": event()}, "exp_cal_state.00"),
        ({"-1": event()}, "exp_cal_state.-1"),
        ({"1": event()}, "exp_cal_state.1.event_id"),
        ({"0": event(duration=None)}, "exp_cal_state.0.duration"),
        ({"0": event(duration=True)}, "exp_cal_state.0.duration"),
        ({"0": event(duration=0)}, "exp_cal_state.0.duration"),
        ({"0": event(duration=-60)}, "exp_cal_state.0.duration"),
        ({"0": event(duration=10**12)}, "exp_cal_state.0.duration"),
        ({"0": event(duration=float("inf"))}, "exp_cal_state.0.duration"),
        ({"0": event(duration=30.5)}, "exp_cal_state.0.duration"),
        ({"0": event(min_time=None)}, "exp_cal_state.0.min_time"),
        ({"0": event(max_time="late")}, "exp_cal_state.0.max_time"),
        ({"0": event(constraint="whenever")}, "exp_cal_state.0.constraint"),
        ({"0": event(constraint=5)}, "exp_cal_state.0.constraint"),
        ({"0": event(constraint="at 9am")}, "exp_cal_state"),
        ({"0": event(duration=200), "1": event(event_id=1, duration=200)}, "exp_cal_state"),
    ],
)
def test_what_can_never_be_graded_is_refused(state, field):
    with pytest.raises(BadRow) as caught:
        ingest(row(state))
    assert caught.value.field == field


def test_a_duration_may_be_written_as_a_whole_float():
    task = ingest(row({"0": event(duration=60.0)}))
    assert rewards(task, ENVIRONMENT.oracle(task)) == (1.0, 1.0)


def test_the_public_verifier_reads_the_last_item_only():
    task = ingest(row({"0": event()}))
    right = text_output(ENVIRONMENT.oracle(task))
    other = [*right, {"type": "function_call", "name": "x", "arguments": "{}", "call_id": "c"}]
    assert ENVIRONMENT.verify_published(task, Session("s", task), read_reply(right)).reward == 1.0
    assert ENVIRONMENT.verify_published(task, Session("s", task), read_reply(other)).reward == 0.0
    assert ENVIRONMENT.verify_published(task, Session("s", task), read_reply([])).reward == 0.0
