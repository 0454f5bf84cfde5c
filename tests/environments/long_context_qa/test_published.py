"""The public rules by hand: F1 of nodes with its overlap, shares of references, what a judge is shown."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from environments.long_context_qa import graphwalks, ruler
from environments.long_context_qa.candidates import (
    NOTHING,
    boxes,
    last_message,
    published_candidate,
    published_question,
)
from environments.long_context_qa.expressions import found
from environments.long_context_qa.rows import LC_QUESTION, JudgeOptions

# graphwalks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nodes", "text", "score"),
    [
        (["a", "b"], "Final Answer: [a, b]", 1.0),
        (["a", "b"], "thoughts\nFinal Answer: ['b', \"a\"]  ", 1.0),
        (["a", "b"], "Final Answer: [a, c]", 0.5),
        (["a", "b"], "Final Answer: [a, b, c, d]", 2 / 3),  # precision 1/2, recall 1
        (["a", "b"], "Final Answer: [a, a, b]", 1.0),
        (["a"], "so the Final Answer: [a] it is", 1.0),
        (["a"], "Final Answer: [b]\nFinal Answer: [a]", 1.0),
        (["a"], "Final Answer: [a]\nDone.", 0.0),
        (["a"], "final answer: [a]", 0.0),
        (["a"], "Final Answer: []", 0.0),
        ([], "Final Answer: []", 1.0),
        ([], "Final Answer: [ , ]", 1.0),
        ([], "Final Answer: [a]", 0.0),
        ([], "", 0.0),
    ],
)
def test_f1_of_the_last_line(nodes, text, score):
    assert graphwalks.f1(nodes, text) == pytest.approx(score)


def test_copying_the_prompt_into_the_reasoning_costs():
    prompt = "the graph has edges from node a to node b and several other distinct nodes scattered all around it today"
    answer = "Final Answer: [a]"
    for metric in ("seq_match", "ngram16"):
        assert graphwalks.published(["a"], (metric, "multiply"), answer, prompt, prompt)[0] == pytest.approx(0.0)
        assert graphwalks.published(["a"], (metric, "base"), answer, prompt, prompt)[0] == 1.0
        assert graphwalks.published(["a"], (metric, "multiply"), answer, "", prompt)[0] == 1.0
    assert graphwalks.published(["a"], ("seq_match", "multiply"), answer, "x" * 10**5, "y" * 10**5)[0] == 0.0
    # "abcd" against "abxy": two of four characters match, ratio 2 * 2 / 8
    assert graphwalks.published(["a"], ("seq_match", "multiply"), answer, "abcd", "abxy")[0] == pytest.approx(0.5)
    words = [f"w{number}" for number in range(20)]  # five 16-grams, of which four are in nineteen of the words
    reward, _, parts = graphwalks.published(
        ["a"], ("ngram16", "multiply"), answer, " ".join(words), " ".join(words[:19])
    )
    assert parts == {"answer_score": 1.0, "reasoning_overlap": 0.8}
    assert reward == pytest.approx(0.2)


def test_reasoning_is_what_its_items_summarise():
    items = [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "one "}, {"text": "two"}]},
        {"type": "reasoning", "summary": None},
        {"type": "message", "role": "assistant", "content": "three"},
    ]
    assert graphwalks.reasoning_of(items) == "one two"


@given(st.lists(st.sampled_from("abcdefgh"), max_size=6), st.text(max_size=80))
@settings(max_examples=200, deadline=None)
def test_strict_pays_nothing_that_the_public_rule_would_not(nodes, text):
    reward, _ = graphwalks.strict(nodes, text)
    assert reward in (0.0, 1.0)
    line = f"Final Answer: [{', '.join(nodes)}]"
    assert graphwalks.strict(nodes, line)[0] == float(len(set(nodes)) == len(nodes)) <= graphwalks.f1(nodes, line)


# RULER -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outputs", "subset", "text", "public", "ours"),
    [
        (["7312004"], "niah_single_1", "7312004", 1.0, 1.0),
        (["7312004"], "niah_single_1", "It is 7312004.", 1.0, 1.0),
        (["7312004"], "niah_single_1", "73120045", 1.0, 0.0),
        (["7312004"], "niah_single_1", "7312004 7312005", 1.0, 0.0),
        (["7312004", "8841906"], "niah_multivalue", "7312004", 0.5, 0.0),
        (["7312004", "8841906"], "niah_multivalue", "1. 8841906\n2. 7312004", 1.0, 1.0),
        (["ABCDE", "FGHIJ"], "vt", "fghij abcde", 1.0, 0.0),
        (["ABCDE", "FGHIJ"], "vt", "The variables are ABCDE and FGHIJ.", 1.0, 1.0),
        (["ABCDE", "FGHIJ"], "vt", "ABCDE FGHIJ KLMNO", 1.0, 0.0),
        (["apple", "bench"], "cwe", "Answer: 1. bench 2. apple", 1.0, 1.0),
        (["apple", "bench"], "cwe", "apple, bench, cloud", 1.0, 0.0),
        (["apple", "bench"], "cwe", "apple, bench, apple", 1.0, 0.0),
        (["Lund", "Erna Lund"], "qa_1", "Erna Lund", 1.0, 1.0),
        (["Lund", "Erna Lund"], "qa_1", "Lund or Falk", 1.0, 0.0),
        (["Lund", "Erna Lund"], "qa_1", "Falk", 0.0, 0.0),
        (["7312004"], "niah_single_1", "", 0.0, 0.0),
    ],
)
def test_references_are_paid_publicly_and_strictly(outputs, subset, text, public, ours):
    assert ruler.published(outputs, subset, text) == public
    assert ruler.strict(outputs, subset, text, "What is it?").reward == ours


def test_a_key_of_the_question_may_be_said_again():
    uuids = [f"0000000{number}-aaaa-bbbb-cccc-000000000000" for number in range(3)]
    prompt = f"The special uuid for {uuids[2]} is {uuids[1]}.\nWhat is the special uuid for {uuids[0]}?"
    reply = f"The special uuid for {uuids[0]} is {uuids[1]}."
    assert ruler.strict([uuids[1]], "niah_multikey_3", reply, prompt).reward == 1.0
    assert ruler.strict([uuids[1]], "niah_multikey_3", f"{reply} {uuids[2]}", prompt).reward == 0.0


# What a judge is shown -------------------------------------------------------------------------------------------

OPTIONS = JudgeOptions()


def message(*texts):
    parts = [{"type": "output_text", "text": text} for text in texts]
    return {"type": "message", "role": "assistant", "content": parts}


def test_the_last_message_is_shown_its_parts_on_lines_of_their_own():
    assert last_message([message("one"), message("two", "three")]) == "two\nthree"
    assert last_message([message("one"), {"type": "function_call", "name": "f"}]) == "one"
    assert last_message([message("one"), message(" ")]) == NOTHING
    assert last_message([]) == NOTHING


@pytest.mark.parametrize(
    ("expression", "expected", "shown"),
    [
        ("", "x", "Final: one\nFinal: two"),
        (r"^Final: (\w+)$", "x", "two"),
        (r"^Final: \w+$", "x", "Final: two"),
        (r"(nothing)|Final: (\w+)", "x", "two"),
        (r"Other: (\w+)", "x", "Final: one\nFinal: two"),
        (r"(", "x", "Final: one\nFinal: two"),
        (r"^Final: (\w+)$", "x" * 120, "two"),
        (r"^Final: (\w+)$", "x" * 121, "Final: one\nFinal: two"),
    ],
)
def test_the_expression_of_a_row_finds_the_answer_unless_that_is_long(expression, expected, shown):
    assert published_candidate([message("Final: one\nFinal: two")], expected, expression, OPTIONS) == shown


def test_the_question_is_the_last_user_message_or_what_follows_its_mark():
    given = [{"role": "user", "content": "<text>\nlong\n</text>\n\nWho?"}]
    assert published_question(given, LC_QUESTION) == "Who?"
    assert (
        published_question([{"role": "user", "content": "docs\nQUESTION: Who was it?"}], LC_QUESTION) == "Who was it?"
    )
    assert published_question(given, None) == "<text>\nlong\n</text>\n\nWho?"
    assert published_question("a string is no message to the public server", None) == ""


def test_boxes_are_closed_and_may_nest():
    assert boxes(r"\boxed{a} then \boxed{\text{b}} then \boxed{c") == ["a", r"\text{b}"]
    assert boxes(r"\boxed{\boxed{a}} {\boxed{b}} }") == [r"\boxed{a}", "b"]
    assert boxes("\\boxed{" * 50_000) == []


def test_expressions_follow_pythons_rules_for_groups():
    assert found(r"(a)?b", "ab b") == ["a", "b"]
    assert found(r"x", "abc") == []
