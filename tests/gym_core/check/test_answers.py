"""The panels' answers: near misses are wrong by one thing, guesses fit the tools, hostile replies survive JSON."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gym_core.check.answers import cut, draw_value, exact, guess, hedged, hostile_items, hostile_texts, nudged
from gym_core.environment import Call, Script
from gym_core.reply import read_reply, text_output
from gym_core.tools import tool_spec


@pytest.mark.parametrize(
    ("reply", "wanted"),
    [("12", "13"), ("\\boxed{9}", "\\boxed{10}"), ("3 of 4", "4 of 5"), ("Paris", "Pariq"), ("q", "z"), ("!", "!q")],
)
def test_off_by_one(reply: str, wanted: str) -> None:
    assert nudged(Script(reply=reply)).reply == wanted


def test_numbers_of_calls_are_off_by_one_too() -> None:
    script = Script((Call("move", {"to": "B7", "amounts": [1, 2.5], "sure": True}),), "done")
    assert nudged(script) == Script((Call("move", {"to": "B8", "amounts": [2, 3.5], "sure": True}),), "done")


def test_without_any_number_the_last_call_and_a_letter_are_lost() -> None:
    script = Script((Call("open", {"box": "red"}), Call("shut")), "done")
    assert nudged(script) == Script((Call("open", {"box": "red"}),), "donq")


def test_halves_and_hedges() -> None:
    script = Script((Call("a"), Call("b")), "12")
    assert cut(script) == Script((Call("a"),), "1")
    assert hedged(script, Script(reply="7")) == Script((), "12 or 7")


@given(st.text(max_size=20), st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=4), max_size=3))
def test_a_near_miss_is_never_the_answer(reply: str, arguments: dict[str, Any]) -> None:
    script = Script((Call("go", arguments),), reply)
    assert nudged(script) != script


@pytest.mark.parametrize("reply", ["12", "-3", "3.5", "\\boxed{12}", "$1,000", "7/8", "12%"])
def test_one_number_is_exact(reply: str) -> None:
    assert exact(Script(reply=reply))


@pytest.mark.parametrize("reply", ["", "done", "12 or 13", '{"a": 1}', "B204 shelf", "I met 3 men."])
def test_words_and_documents_are_not(reply: str) -> None:
    assert not exact(Script(reply=reply))


class Address(msgspec.Struct):
    street: str
    number: int = 1


def order(
    self: Any, item: str, count: int, price: float, gift: bool, to: Address | None, tags: list[str], kind: str = "a"
) -> str:
    """A tool with arguments of every kind."""
    return item


@given(st.integers(0, 1000))
def test_a_guess_fits_the_schema_of_the_tool(seed: int) -> None:
    spec = tool_spec("order", order)
    drawn = draw_value(random.Random(seed), spec.parameters, spec.parameters)
    assert set(spec.parse(msgspec.json.encode(drawn))) == set(spec.parameters["properties"])


def test_a_guess_calls_only_declared_tools() -> None:
    declared = tool_spec("order", order).declaration()
    for seed in range(20):
        script = guess(random.Random(seed), "Which box?", [declared])
        assert 1 <= len(script.calls) <= 3 and {call.name for call in script.calls} == {"order"}
    assert guess(random.Random(1), "", []).calls == ()


def test_hostile_replies_travel_as_json_and_are_the_same_each_time() -> None:
    texts = hostile_texts(random.Random(1))
    assert texts == hostile_texts(random.Random(1))
    assert max(len(text) for _, text in texts) > 800_000
    for _, text in texts:
        items = msgspec.json.decode(msgspec.json.encode(text_output(text)))
        assert read_reply(items).raw_text == text
    for _, items in hostile_items():
        assert read_reply(msgspec.json.decode(msgspec.json.encode(items))).items == items
