"""Published rows go in unchanged and can be answered; what can never be graded is refused, with the field."""

import json

import pytest

from environments.long_context_qa import expressions
from environments.long_context_qa.environment import LongContextQa
from environments.long_context_qa.rows import AALCR, EQUIVALENCE, GRAPHWALKS, RULER
from gym_core.contracts import Task
from gym_core.environment import Session
from gym_core.errors import BadRow
from gym_core.registry import Registry
from gym_core.reply import read_reply, text_output

ENVIRONMENT = LongContextQa()
FILES = [("aalcr", AALCR), ("equivalence_llm_judge", EQUIVALENCE), ("lc_niah", GRAPHWALKS)]


def row(**fields):
    return {"responses_create_params": {"input": [{"role": "user", "content": "Which?"}]}, **fields}


def ingest(raw):
    return ENVIRONMENT.ingest(Task.from_row(raw, "long_context_qa"))


def strict(task, text):
    return ENVIRONMENT.verify(task, Session("s", task), read_reply(text_output(text)))


def published(task, text):
    return ENVIRONMENT.verify_published(task, Session("s", task), read_reply(text_output(text)))


@pytest.mark.parametrize(("name", "protocol"), FILES)
def test_published_rows_are_ingested_unchanged_and_can_be_answered(published_rows, name, protocol):
    for line in (published_rows / f"{name}.jsonl").read_text().splitlines():
        raw = json.loads(line)
        task = ingest(raw)
        assert task.hidden["protocol"] == protocol
        sent = task.to_row()
        assert {field: sent[field] for field in raw} == raw
        assert strict(task, ENVIRONMENT.oracle(task)).reward == 1.0
        for text in ("", "I do not know.", "<think>" + ENVIRONMENT.oracle(task) + "</think>", "Final Answer: [x, y]"):
            assert strict(task, text).reward == 0.0
        if protocol == GRAPHWALKS:
            assert published(task, ENVIRONMENT.oracle(task)).reward == 1.0


def test_their_agents_and_kinds_lead_here():
    registry = Registry.discover()
    for name in ("aalcr", "lc_niah", "equivalence_llm_judge", "ruler", "lc_judge", "aalcr_simple_agent"):
        assert registry.resolve(name) == "long_context_qa"


@pytest.mark.parametrize(
    ("fields", "protocol"),
    [
        ({"outputs": ["1234567"], "subset": "niah_single_1", "length": 4096}, RULER),
        ({"expected_answer": "[]", "problem_type": "bfs"}, GRAPHWALKS),
        ({"expected_answer": "[]", "agent_ref": {"name": "lc_niah_simple_agent"}}, GRAPHWALKS),
        ({"question": "q", "answer": "a"}, AALCR),
        ({"question": "q", "answer": "a", "expected_answer": None}, AALCR),
        ({"question": "q", "expected_answer": "a"}, EQUIVALENCE),
        ({"metadata": {"expected_answer": "a"}}, EQUIVALENCE),
        ({"expected_answer": "a", "template_metadata": {"output_regex": "("}}, EQUIVALENCE),
    ],
)
def test_the_fields_of_a_row_say_whose_it_is(fields, protocol):
    assert ingest(row(**fields)).hidden["protocol"] == protocol


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "expected_answer"),
        ({"expected_answer": " "}, "expected_answer"),
        ({"expected_answer": 5}, "expected_answer"),
        ({"metadata": {"expected_answer": ""}}, "metadata.expected_answer"),
        ({"answer": "a"}, "question"),
        ({"question": "q", "answer": ""}, "answer"),
        ({"question": "q", "answer": "a", "input_tokens_band": "9k"}, "input_tokens_band"),
        ({"question": "q", "answer": "a", "aa_lcr_judge_protocol": "v9"}, "aa_lcr_judge_protocol"),
        ({"outputs": [], "subset": "vt"}, "outputs"),
        ({"outputs": "1234", "subset": "vt"}, "outputs"),
        ({"outputs": ["1234", ""], "subset": "vt"}, "outputs[1]"),
        ({"outputs": ["1234"], "subset": 7}, "subset"),
        ({"expected_answer": "a, b", "source": "graphwalks"}, "expected_answer"),
        ({"expected_answer": "[1, 2]", "source": "graphwalks"}, "expected_answer"),
        ({"expected_answer": "[" * 5000, "source": "graphwalks"}, "expected_answer"),
        ({"expected_answer": "[]", "source": "graphwalks", "overlap_metric_rule": "lcs"}, "overlap_metric_rule"),
        ({"expected_answer": "[]", "source": "graphwalks", "overlap_grading_rule": "minus"}, "overlap_grading_rule"),
        ({"expected_answer": "a", "template_metadata": {"output_regex": ["x"]}}, "template_metadata.output_regex"),
        ({"expected_answer": "a", "template_metadata": {"output_regex": "x" * 9999}}, "template_metadata.output_regex"),
        ({"expected_answer": "a", "judge_options": "x"}, "judge_options"),
        ({"expected_answer": "a", "judge_options": {"swap": True}}, "judge_options"),
        ({"expected_answer": "a", "judge_options": {"reward_if_swap_fails": -1.0}}, "judge_options"),
        ({"expected_answer": "a", "judge_options": {"judge_equal_label": ""}}, "judge_options"),
    ],
)
def test_what_can_never_be_graded_is_refused(fields, field):
    with pytest.raises(BadRow) as caught:
        ingest(row(**fields))
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("text", "reward"),
    [
        ("darwin", 1.0),
        (r"\boxed{Darwin}", 1.0),
        (r"It was \boxed{\text{Darwin}}.", 1.0),
        ("Answer: Darwin.", 1.0),
        (r"\boxed{Darwin} \boxed{Wallace}", 0.0),
        (r"\boxed{}", 0.0),
        (r"\boxed{Darwin", 0.0),
        ("Answer: Darwin\nAnswer: Wallace", 0.0),
        ("Darwin " * 2000, 0.0),
        (r"<think>\boxed{Darwin}</think>", 0.0),
    ],
)
def test_the_official_answer_itself_needs_no_judge(text, reward):
    assert strict(ingest(row(expected_answer="darwin")), text).reward == reward


def test_expressions_of_a_row_are_bounded(monkeypatch):
    monkeypatch.setattr(expressions, "SECONDS", 0.2)
    evil = row(expected_answer="a", template_metadata={"output_regex": r"(a|aa)+$"})
    task = ingest(evil)
    for verdict in (strict(task, "a" * 60 + "!"), published(task, "a" * 60 + "!")):
        assert verdict.reward == 0.0
        assert "not decided" in verdict.details["reason"]
