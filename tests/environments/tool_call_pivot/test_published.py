"""The public comparison where it is odd: each figure here was also given by the public verifier itself."""

import json

import pytest

from environments.tool_call_pivot.actions import Message, ToolUse, ToolUses, published_action
from environments.tool_call_pivot.published import COMPARATORS, Comparator, comparator_of, reward, same_value

PLAIN = Comparator()
F1 = next(comparator for name, comparator in COMPARATORS.items() if name.startswith("parallel_tool_calls"))


def uses(*arguments, name="f"):
    return ToolUses(tuple(ToolUse(name, one if isinstance(one, str) else json.dumps(one)) for one in arguments))


@pytest.mark.parametrize(
    ("expected", "actual", "same"),
    [
        (1, True, True),  # a boolean is an integer in Python
        (True, 1, False),
        (5, 5.0, False),
        (5.0, 5, False),
        (5.0, 5.0000009, True),
        (5.0, 5.000001, False),  # a millionth apart is too far
        (5.0, float("nan"), False),
        (None, None, True),
        (None, 0, False),
        ([1, 2], [2, 1], False),
        ([], [], True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({"a": {"b": ["x y"]}}, {"a": {"b": ["Y x"]}}, True),
        ("A-17", "a-17", False),  # a lone word must be equal
        ("A-17", "A-17 please", False),
        (" A-17", "A-17", False),
        ("", "", True),
        ("one two", "two three", True),  # 1 of 4
        ("a b c d e", "e v w x y", True),  # 1 of 10
        ("a b c d e", "e v w x y z", False),  # 1 of 11
        ("a a a", "a b c", True),  # 1 of 6: words are counted
        ("no refund at all", "all refund at no", True),
    ],
)
def test_values(expected, actual, same):
    assert same_value(expected, actual, PLAIN.words) is same


@pytest.mark.parametrize(
    ("expected", "actual", "plain", "f1"),
    [
        (uses({"a": 1}), uses({"a": 1}), 1.0, 1.0),
        (uses({"a": 1}), uses({"a": 2}), 0.0, 0.0),
        (uses({"a": 1}), uses({"a": 1}, {"a": 2}, {"a": 3}), 1.0, 0.5),  # 2·1 / (1 + 3)
        (uses({"a": 1}, {"a": 2}), uses({"a": 2}, {"a": 1}), 1.0, 1.0),
        (uses({"a": 1}, {"a": 2}), uses({"a": 1}), 0.0, 2 / 3),
        (uses({"a": 1}, {"a": 1}), uses({"a": 1}), 0.0, 2 / 3),
        (uses({"a": 1}, {"a": 2}), uses({"a": 1}, {"a": 1}), 0.0, 0.5),
        # "x y" fits both, "y z" only the second: pairs are found whatever their order
        (uses({"a": "x y"}, {"a": "y z"}), uses({"a": "y z"}, {"a": "x w"}), 1.0, 1.0),
        (uses({"a": 1}), uses({"a": 1}, name="g"), 0.0, 0.0),
        (uses({"a": 1}), uses('{"a": 2, "a": 1}'), 1.0, 1.0),
        (uses({"a": 1}), uses('{"a": 1'), 0.0, 0.0),
        (uses({"a": 1}), uses("[1]"), 0.0, 0.0),
        (uses({"a": 1}), uses('{"a": ' * 5000), 0.0, 0.0),
        (uses({"a": 1}), uses('{"a": ' + "1" * 5000 + "}"), 0.0, 0.0),
        (Message("What is your code?"), Message(""), 1.0, 1.0),
        (Message("What is your code?"), uses({"a": 1}), 0.0, 0.0),
        (uses({"a": 1}), Message("done"), 0.0, 0.0),
        (Message("Hello"), None, 0.0, 0.0),
    ],
)
def test_actions(expected, actual, plain, f1):
    assert reward(expected, actual, PLAIN)[0] == plain
    assert reward(expected, actual, F1)[0] == pytest.approx(f1)


@pytest.mark.parametrize(
    ("agent", "words"), [("search_pivot_", 0.3), ("swe_pivot_", 0.0), ("droid_pivot_", 0.0), ("", 0.1)]
)
def test_agents_differ_in_how_many_words_must_be_common(agent, words):
    name = f"{agent}single_step_tool_use_with_argument_comparison_agent"
    assert comparator_of({"type": "responses_api_agents", "name": name}).words == words
    assert comparator_of(None) == comparator_of({"name": 3}) == comparator_of({"name": "other"}) == PLAIN


def test_calls_come_before_words_and_the_first_words_count():
    call = {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c"}
    first, second = ({"type": "message", "role": "assistant", "content": [part(text)]} for text in ("one", "two"))
    assert published_action([first, call]) == ToolUses((ToolUse("f", "{}"),))
    assert published_action([first, second]) == Message("one")
    assert published_action([{"type": "reasoning", "summary": []}]) is None
    assert published_action([{"type": "message", "role": "user", "content": [part("one")]}]) is None
    refusal = {"type": "refusal", "refusal": "no"}
    assert published_action([{"type": "message", "role": "assistant", "content": [refusal]}]) is None


def part(text):
    return {"type": "output_text", "text": text}
