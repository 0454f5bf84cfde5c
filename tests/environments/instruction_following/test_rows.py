"""Rows from outside: both published shapes, and one clear refusal for each thing that cannot be graded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from environments.instruction_following.environment import InstructionFollowing
from gym_core.contracts import Task
from gym_core.environment import Session
from gym_core.errors import BadRow
from gym_core.reply import read_reply, text_output

ENVIRONMENT = InstructionFollowing()


def row(**fields: Any) -> dict[str, Any]:
    return {"responses_create_params": {"input": "Write."}, **fields}


def ingest(given: dict[str, Any]) -> Task:
    return ENVIRONMENT.ingest(Task.from_row(given, ENVIRONMENT.name))


def test_the_published_rows_are_taken_unchanged_and_can_be_solved(published_rows: Path) -> None:
    lines = (published_rows / "instruction_following.jsonl").read_text().splitlines()
    assert len(lines) == 5
    for line in lines:
        given = json.loads(line)
        task = ingest(given)
        echoed = task.to_row()
        assert {key: echoed[key] for key in given} == given
        reply = read_reply(text_output(ENVIRONMENT.oracle(task)))
        assert ENVIRONMENT.verify(task, Session("s", task), reply).reward == 1.0
        assert ENVIRONMENT.verify_published(task, Session("s", task), reply).reward == 1.0


def test_the_same_row_under_verifier_metadata_means_the_same(published_rows: Path) -> None:
    for line in (published_rows / "instruction_following.jsonl").read_text().splitlines():
        legacy = json.loads(line)
        names = ("instruction_id_list", "prompt", "kwargs")
        current = {key: value for key, value in legacy.items() if key not in names}
        current["verifier_metadata"] = {name: legacy[name] for name in names}
        assert ingest(current)["instructions"] == ingest(legacy)["instructions"]


def test_rows_of_the_benchmark_are_taken_unchanged_and_can_be_solved(published_rows: Path) -> None:
    lines = (published_rows / "ifbench.jsonl").read_text().splitlines()
    assert len(lines) == 5
    for line in lines:
        given = json.loads(line)
        task = ingest(given)
        echoed = task.to_row()
        assert {key: echoed[key] for key in given} == given
        assert task["mode"] == "fraction"
        reply = read_reply(text_output(ENVIRONMENT.oracle(task)))
        assert ENVIRONMENT.verify(task, Session("s", task), reply).reward == 1.0
        assert ENVIRONMENT.verify_published(task, Session("s", task), reply).reward == 1.0


@pytest.mark.parametrize(
    ("fields", "mode"),
    [
        ({"instruction_id_list": ["punctuation:no_comma"]}, "binary"),
        ({"instruction_id_list": ["count:punctuation"]}, "fraction"),
        ({"instruction_id_list": ["count:punctuation"], "grading_mode": "binary"}, "binary"),
        ({"instruction_id_list": ["punctuation:no_comma"], "agent_ref": {"name": "ifbench_simple_agent"}}, "fraction"),
        ({"instruction_id_list": ["punctuation:no_comma"], "kwargs": None, "grading_mode": None}, "binary"),
    ],
)
def test_each_kind_of_row_has_its_published_default(fields: dict[str, Any], mode: str) -> None:
    assert ingest(row(**fields))["mode"] == mode


def test_a_span_is_counted_in_what_the_prompt_says() -> None:
    fields = {
        "instruction_id_list": ["repeat:repeat_span"],
        "kwargs": [{"n_start": 1, "n_end": 2, "prompt_to_repeat": "one two three four"}],
    }
    words = ingest(row(prompt="… the indices are word indices, split by whitespace!", **fields))
    letters = ingest(row(prompt="… the indices are character indices!", **fields))
    assert ENVIRONMENT.oracle(words) == "two three"
    assert ENVIRONMENT.oracle(letters) == "ne"


def test_rows_of_another_environment_are_refused(published_rows: Path) -> None:
    line = (published_rows / "workplace_assistant.jsonl").read_text().splitlines()[0]
    with pytest.raises(BadRow, match="instruction_id_list"):
        ingest(json.loads(line))


def test_nulls_are_dropped_and_parquet_floats_read() -> None:
    task = ingest(row(instruction_id_list=["length_constraints:number_words"],
                      kwargs=[{"num_words": 5.0, "relation": "at least", "letter": None}]))  # fmt: skip
    assert task["instructions"] == [("length_constraints:number_words", {"num_words": 5, "relation": "at least"})]


def test_metadata_wins_over_the_top_level() -> None:
    given = row(
        instruction_id_list=["keywords:existence"],
        kwargs=[{"keywords": ["a"]}],
        verifier_metadata={"instruction_id_list": ["punctuation:no_comma"], "kwargs": [None]},
    )
    assert ingest(given)["instructions"] == [("punctuation:no_comma", {})]


COMMA = {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [None]}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "instruction_id_list"),
        ({"instruction_id_list": [], "kwargs": []}, "instruction_id_list"),
        ({"instruction_id_list": "punctuation:no_comma", "kwargs": [None]}, "instruction_id_list"),
        ({"instruction_id_list": ["punctuation:no_coma"], "kwargs": [None]}, "instruction_id_list[0]"),
        ({"instruction_id_list": [7], "kwargs": [None]}, "instruction_id_list[0]"),
        ({"verifier_metadata": {"instruction_id_list": ["x:y"]}}, "verifier_metadata.instruction_id_list[0]"),
        ({"verifier_metadata": 3}, "verifier_metadata"),
        ({**COMMA, "kwargs": []}, "kwargs"),
        ({**COMMA, "kwargs": ["x"]}, "kwargs[0]"),
        ({**COMMA, "kwargs": [{"num_words": 3}]}, "kwargs[0].num_words"),
        ({**COMMA, "grading_mode": "half"}, "grading_mode"),
        ({**COMMA, "loose": "yes"}, "loose"),
        ({"instruction_id_list": ["count:word_count_range"],
          "kwargs": [{"min_words": 9, "max_words": 3}]}, "kwargs[0]"),
        ({"instruction_id_list": ["count:conjunctions"], "kwargs": [{"small_n": 8}]}, "kwargs[0].small_n"),
        ({"instruction_id_list": ["count:person_names"], "kwargs": [{"N": 51.0}]}, "kwargs[0].N"),
        ({"instruction_id_list": ["ratio:stop_words"], "kwargs": [{"percentage": 101}]}, "kwargs[0].percentage"),
        ({"instruction_id_list": ["ratio:overlap"],
          "kwargs": [{"percentage": 9, "reference_text": "a b"}]}, "kwargs[0]"),
        ({"instruction_id_list": ["repeat:repeat_change"], "kwargs": [{"prompt_to_repeat": "Go"}]}, "kwargs[0]"),
        ({"instruction_id_list": ["repeat:repeat_change"], "kwargs": [{}]}, "kwargs[0].prompt_to_repeat"),
        ({"instruction_id_list": ["repeat:repeat_span"],
          "kwargs": [{"prompt_to_repeat": "a b", "n_start": 2, "n_end": 4}]}, "kwargs[0]"),
        ({"instruction_id_list": ["count:number"], "kwargs": [None]}, "instruction_id_list[0]"),
        ({"instruction_id_list": ["keywords:existence"], "kwargs": [{}]}, "kwargs[0].keywords"),
        ({"instruction_id_list": ["keywords:existence"], "kwargs": [{"keywords": []}]}, "kwargs[0].keywords"),
        ({"instruction_id_list": ["keywords:existence"], "kwargs": [{"keywords": [" "]}]}, "kwargs[0].keywords"),
        ({"instruction_id_list": ["count:lowercase_counting"], "kwargs": [{"N": True}]}, "kwargs[0].N"),
        ({"instruction_id_list": ["count:lowercase_counting"], "kwargs": [{"N": -1}]}, "kwargs[0].N"),
        ({"instruction_id_list": ["language:response_language"], "kwargs": [{"language": "xx"}]}, "kwargs[0].language"),
        ({"instruction_id_list": ["letters:letter_counting"], "kwargs": [{"N": 3, "relation": "at most"}]},
         "kwargs[0].relation"),
    ],
)  # fmt: skip
def test_what_can_never_be_graded_is_refused_with_its_place(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(BadRow) as caught:
        ingest(row(**fields))
    assert caught.value.field == field


def test_a_refused_id_names_its_nearest_kin() -> None:
    with pytest.raises(BadRow) as caught:
        ingest(row(instruction_id_list=["punctuation:no_coma"], kwargs=[None]))
    assert "punctuation:no_comma" in caught.value.hint
