"""Ingest, the published rows, and properties that hold for any reply."""

import json
import random
import time
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from environments.structured_outputs.environment import StructuredOutputs
from environments.structured_outputs.grading import Wanted, grade_published, grade_strict, semantic
from environments.structured_outputs.problems import PROBLEMS
from environments.structured_outputs.reading import FORMATS, ParseError, read
from environments.structured_outputs.writing import write
from gym_core.contracts import Task
from gym_core.environment import Session
from gym_core.errors import BadRow
from gym_core.generate import make_tasks
from gym_core.play import call_items
from gym_core.reply import read_reply, text_output

ROWS = Path(__file__).parents[4] / "shared/rows"
FILES = ("structured_outputs", "structured_outputs_v3_example", "structured_outputs_v4_example")
SCHEMA = json.dumps({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}})


def verdict(task, output):
    environment = StructuredOutputs()
    items = text_output(output) if isinstance(output, str) else output
    return environment.verify(task, Session("s", task), read_reply(items))


def ingest(**fields):
    row = {"responses_create_params": {"input": "Answer."}, **fields}
    return StructuredOutputs().ingest(Task.from_row(row, "structured_outputs"))


def instance(schema):
    """A small value for the plain schemas of the published rows."""
    kind = schema["type"]
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return {key: instance(inner) for key, inner in schema.get("properties", {}).items()}
    if kind == "array":
        return [instance(schema["items"])]
    if schema.get("format") == "date":
        return "2020-01-31"
    return {"string": schema.get("enum", ["text"])[0], "integer": 3, "number": 2.5, "boolean": True}[kind]


@pytest.mark.parametrize("name", FILES)
def test_published_rows_are_ingested_unchanged_and_can_be_solved(name):
    path = ROWS / f"{name}.jsonl"
    if not path.exists():
        warnings.warn("no published rows beside this checkout: nothing compared", UserWarning, stacklevel=1)
        pytest.skip("shared/rows is not here")
    for line in path.read_text().splitlines():
        raw = json.loads(line)
        task = StructuredOutputs().ingest(Task.from_row(raw, "structured_outputs"))
        sent = task.to_row()
        assert {key: sent[key] for key in raw} == raw
        value = instance(json.loads(raw["schema_str"]))
        if raw.get("response_mode") == "tool_call":
            key = raw["tool_payload_key"]
            arguments = json.dumps({key: value} if key else value)
            answer = [{"type": "function_call", "name": raw["tool_name"], "arguments": arguments, "call_id": "1"}]
        else:
            kind = raw["schema_type"]
            answer = write_row(value) if kind == "csv" else write(kind, value)
        assert verdict(task, answer).reward == 1.0, (raw["schema_type"], verdict(task, answer).details)
        assert verdict(task, "").reward == 0.0


def write_row(value):
    cells = {key: json.dumps(cell) if isinstance(cell, dict | list) else cell for key, cell in value.items()}
    return write("csv", [cells])


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "schema_str"),
        ({"schema_str": {"type": "object"}}, "schema_str"),
        ({"schema_str": "{"}, "schema_str"),
        ({"schema_str": "[]"}, "schema_str"),
        ({"schema_str": '{"type": "bogus"}'}, "schema_str"),
        ({"schema_str": '{"type": "object", "additionalProperties": "false"}'}, "schema_str"),
        ({"schema_str": '{"$ref": "https://127.0.0.1/s.json"}'}, "schema_str"),
        ({"schema_str": '{"a":' * 5000 + "1" + "}" * 5000}, "schema_str"),
        ({"schema_str": SCHEMA, "schema_type": "ini"}, "schema_type"),
        ({"schema_str": SCHEMA, "response_mode": "audio"}, "response_mode"),
        ({"schema_str": SCHEMA, "tool_name": 5}, "tool_name"),
    ],
)
def test_what_can_never_be_graded_is_refused(fields, field):
    with pytest.raises(BadRow) as caught:
        ingest(**fields)
    assert caught.value.field == field


def test_a_tool_that_is_not_declared_is_refused():
    row = {
        "responses_create_params": {"input": "x", "tools": [{"type": "function", "name": "other"}]},
        "schema_str": SCHEMA,
        "response_mode": "tool_call",
        "tool_name": "record",
    }
    with pytest.raises(BadRow) as caught:
        StructuredOutputs().ingest(Task.from_row(row))
    assert caught.value.field == "tool_name"


@pytest.mark.parametrize("kind", FORMATS)
@given(text=st.text(max_size=200) | st.text(alphabet="abn:{}[]\"'\n -_.,0123<>/=&*!|", max_size=60))
@settings(max_examples=120, deadline=None)
def test_no_text_makes_a_verifier_raise(kind, text):
    reply = read_reply(text_output(text))
    for schema in (SCHEMA, '{"type":"array","items":{"type":"object","properties":{"a":{"type":"number"}}}}', "{}"):
        assert grade_strict(Wanted(schema, kind), reply).reward in (0.0, 1.0)
        assert grade_published(Wanted(schema, kind), reply).reward in (0.0, 1.0)


@given(st.text(max_size=80))
@settings(max_examples=100, deadline=None)
def test_no_tool_arguments_make_a_verifier_raise(arguments):
    items = [{"type": "function_call", "name": "f", "arguments": arguments, "call_id": "1"}]
    wanted = Wanted(SCHEMA, "json", "tool_call", "f", "data")
    assert grade_strict(wanted, read_reply(items)).reward == 0.0
    assert grade_published(wanted, read_reply(items)).reward == 0.0


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers() | st.text(max_size=5) | st.none()))
def test_strict_json_is_exactly_the_schema(value):
    right = set(value) == {"a", "b"} and isinstance(value["a"], int) and isinstance(value["b"], str)
    reply = read_reply(text_output(json.dumps(value)))
    assert grade_strict(Wanted(SCHEMA), reply).reward == float(right)
    assert grade_published(Wanted(SCHEMA), reply).reward == float(right)


def said(answer):
    """The output items of an oracle's answer, a text or a tool call."""
    if isinstance(answer, str):
        return text_output(answer)
    (call,) = answer.calls
    return call_items("1", call.name, json.dumps(call.arguments), "no such tool") + text_output(answer.reply)


@pytest.mark.parametrize("level", StructuredOutputs.levels)
def test_the_oracle_earns_everything_and_its_mutations_nothing(level):
    environment = StructuredOutputs()
    draw = random.Random(level)
    for task in make_tasks(environment, seed=2, level=level, count=120):
        answer = environment.oracle(task)
        graded = verdict(task, said(answer))
        assert graded.reward == 1.0, graded.details
        assert graded.components.get("semantic", 1.0) == 1.0
        published = environment.verify_published(task, Session("s", task), read_reply(said(answer)))
        assert published.reward == 1.0, published.details
        if not isinstance(answer, str):
            continue
        assert verdict(task, f"```\n{answer}\n```").reward == 0.0
        assert verdict(task, f"Here you are:\n{answer}").reward == 0.0
        if task["schema_type"] == "json":
            value = json.loads(answer)
            assert verdict(task, json.dumps({**value, "extra": 1})).reward == 0.0
            gone = draw.choice(sorted(value))
            assert verdict(task, json.dumps({key: inner for key, inner in value.items() if key != gone})).reward == 0.0


@pytest.mark.parametrize("level", [2, 5])
def test_a_tool_call_answers_where_one_is_asked_for(level):
    environment = StructuredOutputs()
    tasks = make_tasks(environment, seed=3, level=level, count=120)
    calls = [task for task in tasks if task.get("response_mode") == "tool_call"]
    assert len(calls) > 5
    for task in calls:
        (call,) = environment.oracle(task).calls
        names = [tool["name"] for tool in task.tools]
        assert call.name == task["tool_name"] in names
        assert len(names) == len(set(names)) == task["num_tools"]
        right = call_items("1", call.name, json.dumps(call.arguments), "")
        assert verdict(task, right).reward == 1.0
        assert verdict(task, text_output(json.dumps(call.arguments))).reward == 0.0
        assert verdict(task, right + call_items("2", call.name, json.dumps(call.arguments), "")).reward == 0.0
        assert verdict(task, call_items("1", f"{call.name}0", json.dumps(call.arguments), "")).reward == 0.0
        beside = call_items("1", call.name, json.dumps({**call.arguments, "beside": 1}), "")
        assert verdict(task, beside).reward == 0.0


def test_every_problem_type_and_format_is_generated():
    tasks = [
        task for level in (1, 2, 3, 4, 5) for task in make_tasks(StructuredOutputs(), seed=4, level=level, count=80)
    ]
    assert {task["problem_type"] for task in tasks} == {*PROBLEMS, "direct_tool_call"}
    assert {task["schema_type"] for task in tasks} == set(FORMATS)
    assert {task["schema_repr"] for task in tasks} == {"json", "yaml", "tool"}


@pytest.mark.parametrize("level", [3, 4, 5])
def test_the_mistake_that_is_shown_is_one(level):
    tasks = make_tasks(StructuredOutputs(), seed=5, level=level, count=150)
    for task in [task for task in tasks if task["problem_type"] == "error_correction"]:
        prompt = "\n".join(message["content"] for message in task.messages)
        broken = prompt.partition("This answer does not fit")[2].partition("\n")[2].partition("\nCorrect it.")[0]
        assert broken
        assert verdict(task, broken).reward == 0.0


def test_several_turns_end_with_the_user():
    tasks = make_tasks(StructuredOutputs(), seed=6, level=4, count=150)
    turns = [task for task in tasks if task["problem_type"].startswith("multistep")]
    assert turns
    for task in turns:
        roles = [message["role"] for message in task.messages if message["role"] != "system"]
        assert roles == ["user", "assistant"] * (task["num_turns"] - 1) + ["user"]


def test_wrong_facts_are_logged_and_not_punished():
    task = next(
        task
        for task in make_tasks(StructuredOutputs(), seed=2, level=1, count=40)
        if task["problem_type"] == "direct" and any(type(fact) is int for fact in task["truth"].values())
    )
    wrong = {key: -7 if type(fact) is int else fact for key, fact in task["truth"].items()}
    graded = verdict(task, write(task["schema_type"], wrong))
    assert graded.reward == 1.0
    assert graded.components["semantic"] < 1.0


def test_semantic_counts_facts_in_their_place():
    truth = {"a": 1, "b": {"c": [True, "x"]}}
    assert semantic(truth, truth) == 1.0
    assert semantic(truth, {"a": 1, "b": {"c": [1, "x"]}}) == pytest.approx(2 / 3)
    assert semantic(truth, None) == 0.0


def test_level_0_is_short_and_wide():
    tasks = make_tasks(StructuredOutputs(), seed=0, level=0, count=2500)
    assert max(len(task.messages[0]["content"]) for task in tasks) < 100
    assert max(len(task["sample"]) for task in tasks) < 35
    assert len(make_tasks(StructuredOutputs(), seed=0, level=0, count=256, split="heldout")) == 256


def test_there_is_no_oracle_for_rows_from_outside():
    with pytest.raises(NotImplementedError):
        StructuredOutputs().oracle(ingest(schema_str=SCHEMA))


def test_hidden_fields_stay_home():
    for task in make_tasks(StructuredOutputs(), seed=0, level=3, count=5):
        assert not {"sample", "truth"} & set(task.to_row())
        assert {"schema_str", "schema_type"} <= set(task.to_row())


BOMBS = [
    ("toml", ".".join(["a"] * 40_000) + "=1"),
    ("toml", "a = 0x" + "f" * 90_000),
    ("toml", "a = " + "[" * 5000),
    ("yaml", "[" * 90_000),
    ("yaml", "- " * 45_000),
    ("yaml", "a: " + "9" * 90_000),
    ("xml", "<a>" * 20_000),
    ("csv", '"' * 90_000),
    ("json", "[" * 90_000),
]


@pytest.mark.parametrize(("kind", "text"), BOMBS, ids=range(len(BOMBS)))
def test_bombs_are_refused_in_a_moment(kind, text):
    reply = read_reply(text_output(text))
    began = time.process_time()
    assert grade_strict(Wanted('{"type":"object"}', kind), reply).reward == 0.0
    assert grade_published(Wanted('{"type":"object"}', kind), reply).reward == 0.0
    assert time.process_time() - began < 1.0


def test_exploding_patterns_answer_in_a_moment():
    for pattern in ("^(a+)+$", "^(?=a)(a|aa)+$", r"^(\w+\s?)*$"):
        schema = json.dumps({"type": "object", "properties": {"s": {"type": "string", "pattern": pattern}}})
        reply = read_reply(text_output(json.dumps({"s": "a" * 5000 + "!"})))
        began = time.process_time()
        assert grade_strict(Wanted(schema), reply).reward == 0.0
        assert grade_published(Wanted(schema), reply).reward == 0.0
        assert time.process_time() - began < 1.0


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("xml", "<r><n>1</n><t><i>a</i><i>b</i></t></r>", {"n": 1, "t": ["a", "b"]}),
        ("xml", "<r><n>-2</n><t>a</t></r>", {"n": -2, "t": ["a"]}),
        ("xml", "<r><n>x</n><t/></r>", {"n": "x", "t": []}),
        ("csv", 'n,t\n7,"[""a""]"\n', {"n": 7, "t": ["a"]}),
        ("toml", 'n = 7\nt = ["a"]', {"n": 7, "t": ["a"]}),
        ("yaml", "n: 7\nt: [a]", {"n": 7, "t": ["a"]}),
    ],
)
def test_read(kind, text, value):
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}, "t": {"type": "array", "items": {"type": "string"}}},
    }
    assert read(kind, text, schema) == value


SECOND_MEANINGS = [
    ("json", '{"a":1,"a":1}'),
    ("json", "NaN"),
    ("json", "1e999"),
    ("yaml", "a: 1\na: 1"),
    ("yaml", "a: &x 1\nb: *x"),
    ("yaml", "<<: {a: 1}"),
]


@pytest.mark.parametrize(("kind", "text"), SECOND_MEANINGS)
def test_read_refuses_second_meanings(kind, text):
    with pytest.raises(ParseError):
        read(kind, text, {})
