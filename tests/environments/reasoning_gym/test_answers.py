"""Where a reply's answer stands: one of a kind strictly, the public server's choice otherwise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.reasoning_gym.answers import MAX_LENGTH, published_answer, strict_answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("42", "42"),
        (" 42\n", "42"),
        ("so <answer> 42 </answer> it is", "42"),
        (r"so \boxed{42}.", "42"),
        (r"so \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        (r"<answer>\boxed{42}</answer>", r"\boxed{42}"),
        ("<answer></answer>", ""),
        ("", None),
        (" \n", None),
        ("<answer>41</answer><answer>42</answer>", None),
        ("<answer>42", None),
        ("</answer>42<answer>", None),
        ("<answer>41<answer>42</answer>", None),
        (r"\boxed{41} \boxed{42}", None),
        (r"\boxed{42", None),
        ("4" * (MAX_LENGTH + 1), None),
    ],
)
def test_strict_answer(text, answer):
    assert strict_answer(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<answer>41</answer> no <answer>42</answer>", "42"),
        (r"\boxed{41} \boxed{42}", "41"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1"),
        (r"\boxed{41} <answer>42</answer>", "42"),
        (" plain 42 ", "plain 42"),
        ("<think><answer>41</answer></think>42", "41"),
        ("", ""),
    ],
)
def test_published_answer_is_the_public_servers(text, answer):
    assert published_answer(text) == answer


@given(st.text(alphabet="<>/answerboxd\\{} 42\n", max_size=60))
def test_no_text_makes_them_raise(text):
    assert isinstance(published_answer(text), str)
    assert strict_answer(text) is None or isinstance(strict_answer(text), str)


@given(st.text(alphabet="abc 123", min_size=1, max_size=20))
def test_a_tagged_answer_is_found_by_both(answer):
    text = f"reasons <answer>{answer}</answer> done"
    assert strict_answer(text) == answer.strip() == published_answer(text)
