"""Strict calls: never more than the public comparison pays, and the right ones in any order of keys and calls."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.tool_call_pivot.actions import ToolUse, ToolUses
from environments.tool_call_pivot.published import Comparator, reward
from environments.tool_call_pivot.strict import check_calls, same_sentence

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(-2, 2).map(lambda x: round(x, 1))
    | st.text("ab 1", max_size=12),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)
CALLS = st.lists(
    st.tuples(st.sampled_from("fg"), st.dictionaries(st.sampled_from("ab"), VALUES, max_size=2)), min_size=1, max_size=3
)
ANY = {"declared": "fgh", "text": ""}


def uses(calls):
    return tuple(ToolUse(name, json.dumps(arguments)) for name, arguments in calls)


@given(CALLS, CALLS, st.booleans())
def test_what_is_paid_strictly_is_paid_by_the_published_comparison_too(wanted, made, exact):
    expected, actual = uses(wanted), uses(made)
    if check_calls(expected, actual, exact=exact, **ANY) == "":
        assert reward(ToolUses(expected), ToolUses(actual), Comparator())[0] == 1.0


@given(CALLS, st.randoms(use_true_random=False), st.booleans())
def test_the_expected_calls_are_right_in_any_order(wanted, rng, exact):
    made = [(name, dict(sorted(arguments.items(), reverse=True))) for name, arguments in wanted]
    rng.shuffle(made)
    assert check_calls(uses(wanted), uses(made), exact=exact, **ANY) == ""


@given(CALLS)
def test_one_call_more_or_less_is_wrong(wanted):
    more = uses([*wanted, wanted[0]])
    assert check_calls(uses(wanted), more, exact=False, **ANY)
    assert check_calls(more, uses(wanted), exact=False, **ANY)


@pytest.mark.parametrize(
    ("expected", "actual", "same"),
    [
        ("Medical Zone", "medical  zone", True),
        ("Medical Zone", "zone medical", False),
        ("SHOW24", "show24", False),
        ("SHOW24", "SHOW24 ", False),
        ("The customer wants a refund of 42.50 euros.", "Customer wants a refund of 42.5 euros", True),
        ("The customer wants a refund of 42.50 euros.", "Customer wants a refund of 43 euros", False),
        ("The customer wants a refund of 42.50 euros.", "Customer wants a refund", False),
        ("The customer wants a refund and is angry about it.", "The the of and is about it a.", False),
        ("12 Mill Lane, Oxford, OX1", "12 mill lane Oxford OX1", True),
        ("12 Mill Lane, Oxford, OX1", "14 mill lane Oxford OX1", False),
    ],
)
def test_sentences_may_be_worded_differently_but_names_and_figures_may_not(expected, actual, same):
    assert same_sentence(expected, actual) is same


def test_generated_texts_are_compared_exactly():
    wanted = uses([("f", {"slot": "The evening slot, after 6 please"})])
    made = uses([("f", {"slot": "the evening slot, after 6 please"})])
    assert check_calls(wanted, made, exact=False, **ANY) == ""
    assert check_calls(wanted, made, exact=True, **ANY) == "other arguments"


def test_a_row_that_declares_no_tools_takes_the_expected_one():
    wanted = uses([("f", {})])
    assert check_calls(wanted, wanted, text="", declared=[], exact=False) == ""
    assert check_calls(wanted, wanted, text="", declared=["g"], exact=False) == "a tool that is not declared"
    assert check_calls(wanted, wanted, text="Done!", declared=["f"], exact=False) == "words beside the call"
