"""Published rows go in unchanged and can be answered; what no reply could answer is refused, with the field."""

import json

import pytest

from environments.stem_qa.environment import StemQa
from gym_core.contracts import Task
from gym_core.environment import Session
from gym_core.errors import BadRow
from gym_core.reply import read_reply, text_output

ENVIRONMENT = StemQa()
OPTIONS = [{"A": "one"}, {"B": "two"}, {"C": "three"}]


def row(**fields):
    return {"responses_create_params": {"input": "Which?"}, "options": OPTIONS, "expected_answer": "B", **fields}


def ingest(raw):
    return ENVIRONMENT.ingest(Task.from_row(raw, "stem_qa"))


def rewards(task, text):
    reply = read_reply(text_output(text))
    session = Session("s", task)
    return ENVIRONMENT.verify(task, session, reply).reward, ENVIRONMENT.verify_published(task, session, reply).reward


def test_published_rows_are_ingested_unchanged_and_can_be_answered(published_rows):
    for line in (published_rows / "mcqa.jsonl").read_text().splitlines():
        raw = json.loads(line)
        task = ingest(raw)
        sent = task.to_row()
        assert {name: sent[name] for name in raw} == raw
        assert rewards(task, ENVIRONMENT.oracle(task)) == (1.0, 1.0)
        wrong = "A" if raw["expected_answer"] != "A" else "B"
        for text in ("", f"\\boxed{{{wrong}}}", task.messages[0]["content"]):
            assert rewards(task, text) == (0.0, 0.0)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"grading_mode": None, "template_metadata": None, "metadata": None},
        {"grading_mode": "lenient_boxed"},
        {"grading_mode": "lenient_answer_colon"},
        {"grading_mode": "lenient_answer_colon_md"},
        {"expected_answer": " b "},
        {"options": [{"A": "one", "B": None, "C": None}, {"A": None, "B": "two", "C": None}, None]},
        {"options": [{"a": "one"}, {"b": "two"}]},
        {"options": [{"A": "one", "B": "two"}]},
        {"template_metadata": {"output_regex": r"\\boxed\{\s*([A-Za-z])\s*\}"}},
        {"template_metadata": {"output_regex": [r"Choice:\s*([A-Z])"]}, "options": []},
        {"template_metadata": {"output_regex": r"Choice:\s*([A-Z])"}, "options": None},
        {"template_metadata": {"output_regex": "(["}},
        {"template_metadata": {"template_id": "x"}},
    ],
)
def test_rows_of_every_shape_can_be_answered(fields):
    task = ingest(row(**fields))
    strict, published = rewards(task, ENVIRONMENT.oracle(task))
    assert strict == 1.0
    assert published == float("options" not in fields or fields["options"] not in ([], None))


def test_rows_without_options_trust_their_expression():
    task = ingest(row(options=[], template_metadata={"output_regex": r"Choice:\s*([A-Z])"}))
    assert rewards(task, "Choice: B") == (1.0, 1.0)
    assert rewards(task, "Choice: C") == (0.0, 0.0)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"options": None}, "options"),
        ({"options": []}, "options"),
        ({"options": {"A": "one", "B": "two"}}, "options"),
        ({"options": [{"A": None}, {"B": "two"}]}, "options"),
        ({"options": ["one", "two"]}, "options[0]"),
        ({"options": [{"A": "one"}, {"B": 2}]}, "options[1].B"),
        ({"options": [{"A": "one"}, {"A": "two"}]}, "options"),
        ({"expected_answer": None}, "expected_answer"),
        ({"expected_answer": ""}, "expected_answer"),
        ({"expected_answer": "D"}, "expected_answer"),
        ({"expected_answer": "AB"}, "expected_answer"),
        ({"expected_answer": 1}, "expected_answer"),
        ({"grading_mode": "boxed"}, "grading_mode"),
        ({"template_metadata": "x"}, "template_metadata"),
        ({"template_metadata": {"output_regex": 5}}, "template_metadata.output_regex"),
        ({"template_metadata": {"output_regex": ["a", 5]}}, "template_metadata.output_regex"),
        ({"template_metadata": {"output_regex": "a" * 5000}}, "template_metadata.output_regex"),
        ({"template_metadata": {"output_regex": ["a"] * 50}}, "template_metadata.output_regex"),
    ],
)
def test_what_can_never_be_graded_is_refused(fields, field):
    with pytest.raises(BadRow) as caught:
        ingest(row(**fields))
    assert caught.value.field == field


def test_an_answer_that_is_a_padded_option_is_refused():
    with pytest.raises(BadRow, match="the options are"):
        ingest(row(options=[{"A": "one"}, {"B": None}, {"C": "three"}]))
