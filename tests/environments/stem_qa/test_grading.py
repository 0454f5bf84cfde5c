"""Both gradings: properties over texts made of what answers are made of, and bounded time for hostile ones."""

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from environments.stem_qa.options import last_box, read_options, unwrapped
from environments.stem_qa.published import MODES, Question, grade_published
from environments.stem_qa.strict import grade_strict

OPTIONS = read_options([{"A": "x"}, {"B": "foo"}, {"C": "bar baz"}, {"D": None}])
PIECES = st.sampled_from(
    ("\\boxed{", "}", "\\text{", "A", "B", "C", "D", "b", " ", "\n", ":", ")", ".", "-", "/", ",", " or ", " and ",
     "foo", "bar baz", "Answer: ", "answer:", "**", "ANSWER IS ", "Ａ", "ব", "ß", "not ", "$")
)  # fmt: skip
TEXTS = st.lists(PIECES, max_size=10).map("".join)
EXPRESSIONS = st.sampled_from(
    (
        (),
        (r"ANSWER IS\s*([A-Za-z])",),
        (r"\\boxed\{\s*([A-Za-z])\s*\}",),
        ("([",),
        ("(A)|(B)",),
    )
)


@given(TEXTS, st.sampled_from(MODES), EXPRESSIONS)
@settings(max_examples=300, deadline=None)
def test_a_reply_is_right_for_one_letter_at_most(text, mode, expressions):
    """Whatever is written: it cannot earn the reward under two different expected answers."""
    rewards = [grade_strict(Question(OPTIONS, letter, mode, expressions), text)[0] for letter in "ABC"]
    assert sum(rewards) <= 1.0 and set(rewards) <= {0.0, 1.0}
    assert grade_strict(Question(OPTIONS, "D", mode, expressions), text)[0] == 0.0
    published = [grade_published(Question(OPTIONS, letter, mode, expressions), text)[0] for letter in "ABC"]
    assert sum(published) <= 1.0


@given(TEXTS, st.sampled_from(MODES[:2]))
@settings(max_examples=300, deadline=None)
def test_in_boxes_strict_pays_nothing_for_two_letters(text, mode):
    box = last_box(text)
    reward = grade_strict(Question(OPTIONS, "B", mode), text)[0]
    if box is not None and reward:
        assert {letter for letter in "ACD" if letter in box} == set()


def test_letters_that_are_no_options_are_never_read():
    draw = random.Random(0)
    for letter in "DEZＢВβ1":
        for form in ("\\boxed{%s}", "Answer: %s", "ANSWER IS %s", "\\boxed{\\text{%s}}", "\\boxed{%s) foo}"):
            mode = draw.choice(MODES)
            expected = "B" if letter in "ＢВβ1" else letter
            assert grade_strict(Question(OPTIONS, expected, mode, (r"ANSWER IS\s*(\w)",)), form % letter)[0] == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "\\boxed{" * 40_000,
        "\\boxed{" + "{" * 150_000 + "B" + "}" * 150_001,
        "\\boxed{\\text{" + " " * 300_000 + "x",
        "Answer: " * 40_000,
        "Answer:" + "\n" * 300_000,
        "answer" + " " * 300_000,
        "Answer: " + "A B C " * 50_000,
        "Answer: " + "(A/" * 100_000,
        "**" * 150_000,
        "\\boxed{}" * 40_000,
        "\\boxed{" + "\\text{" * 20_000 + "B" + "}" * 20_001,
        "x" * 500_000,
    ],
    ids=lambda text: text[:20],
)
@pytest.mark.parametrize("mode", MODES[1::2])
def test_hostile_texts_take_linear_time(text, mode):
    began = time.process_time()
    question = Question(OPTIONS, "A", mode)
    assert grade_strict(question, text)[0] == 0.0
    grade_published(question, text)
    assert time.process_time() - began < 3.0


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("\\boxed{B}", "B"),
        ("\\boxed{a} \\boxed{\\text{B}}", "\\text{B}"),
        ("\\boxed{\\boxed{B}}", "B"),
        ("\\boxed{B", None),
        ("\\boxed {B}", None),
        ("", None),
    ],
)
def test_last_box(text, box):
    assert last_box(text) == box


@pytest.mark.parametrize(
    ("text", "inner"),
    [("\\text{B}", "B"), ("\\text{ \\text{ B } }", "B"), ("\\text{B} x", "\\text{B} x"), ("\\text{}", "")],
)
def test_unwrapped(text, inner):
    assert unwrapped(text) == inner
