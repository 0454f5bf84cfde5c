"""Typed tools: the schema the policy sees, and the arguments the method gets."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gym_core.tools import RESERVED_NAMES, ToolFault, tool, tool_spec, tool_specs


class Address(msgspec.Struct):
    street: str
    number: int = 1


class Shop:
    @tool
    def order(
        self,
        session: Any,
        item: str,
        count: Annotated[int, msgspec.Meta(ge=1, le=9)] = 1,
        speed: Literal["slow", "fast"] = "slow",
        to: Address | None = None,
    ) -> str:
        """Order an item
        from the shop.

        More words that the policy does not need.

        Args:
            item: what to order
            count: how many
            nothing: no parameter

        Returns:
            count: not an argument
        """
        return f"{item}{count}{speed}{to}"

    @tool(read_only=True)
    def look(self) -> str:
        return "shelf"

    def hidden(self) -> str:
        return "not a tool"


class Branch(Shop):
    @tool
    def look(self, where: str) -> str:  # type: ignore[override]
        """Look there."""
        return where


def test_the_schema_comes_from_hints_and_docstring() -> None:
    spec = tool_specs(Shop)["order"]
    assert spec.takes_session
    assert not spec.read_only
    declared = spec.declaration()
    assert (declared["type"], declared["name"]) == ("function", "order")
    assert declared["description"] == "Order an item from the shop."
    parameters = declared["parameters"]
    assert parameters["required"] == ["item"]
    assert parameters["additionalProperties"] is False
    assert parameters["properties"]["item"] == {"type": "string", "description": "what to order"}
    assert parameters["properties"]["count"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 9,
        "default": 1,
        "description": "how many",
    }
    assert set(parameters["properties"]) == {"item", "count", "speed", "to"}
    assert parameters["properties"]["speed"]["enum"] == ["fast", "slow"]
    assert "Address" in parameters["$defs"]


def test_only_marked_methods_are_tools_and_a_subclass_may_replace_one() -> None:
    assert list(tool_specs(Shop)) == ["order", "look"]
    assert tool_specs(Shop)["look"].read_only
    branch = tool_specs(Branch)
    assert list(branch) == ["order", "look"]
    assert branch["look"].parameters["required"] == ["where"]


def test_arguments_become_keywords_with_defaults() -> None:
    spec = tool_specs(Shop)["order"]
    assert spec.parse('{"item": "tea"}') == {"item": "tea", "count": 1, "speed": "slow", "to": None}
    assert spec.parse(b'{"item": "tea", "to": {"street": "Elm"}}')["to"] == Address("Elm", 1)
    assert tool_specs(Shop)["look"].parse("") == {}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ('{"item": 3}', r"Expected `str`, got `int` - at `\$\.item`"),
        ('{"item": "tea", "count": 10}', r"<= 9 - at `\$\.count`"),
        ('{"item": "tea", "cuont": 1}', "unknown field `cuont`"),
        ("{}", "missing required field `item`"),
        ("[]", "Expected `object`"),
        ('{"item": ', "are not JSON"),
        ("null", "Expected `object`"),
    ],
)
def test_arguments_that_do_not_fit_are_a_fault_that_says_how(arguments: str, words: str) -> None:
    with pytest.raises(ToolFault, match=words):
        tool_specs(Shop)["order"].parse(arguments)


@given(st.binary(max_size=40))
def test_no_bytes_crash_the_parser(arguments: bytes) -> None:
    try:
        assert tool_specs(Shop)["order"].parse(arguments)["item"] is not None
    except ToolFault as fault:
        assert str(fault)


@pytest.mark.parametrize("name", [*sorted(RESERVED_NAMES), "with space", "", "9lives", "a" * 65])
def test_a_reserved_or_odd_name_is_refused(name: str) -> None:
    def method(self: Any) -> str:
        return ""

    with pytest.raises(ValueError, match="may not be called"):
        tool_spec(name, method)


def test_a_parameter_without_a_hint_is_refused() -> None:
    def method(self, untyped):  # type: ignore[no-untyped-def]
        return ""

    with pytest.raises(ValueError, match="'untyped' of tool 'f' needs a type hint"):
        tool_spec("f", method)


def test_google_style_arguments_with_types_and_longer_lines() -> None:
    def method(self: Any, shelf: str, many: int = 1) -> str:
        """Look.

        Args:
            shelf (str): a letter
                and three digits
            many (int, optional): how many

        Returns:
            shelf: nothing
        """
        return shelf

    properties = tool_spec("look", method).parameters["properties"]
    assert properties["shelf"]["description"] == "a letter and three digits"
    assert properties["many"]["description"] == "how many"


def _variadic(self: Any, *words: str) -> str:
    return ""


def _keywords(self: Any, **words: str) -> str:
    return ""


def _odd_type(self: Any, session: Any, lock: Any, of: complex) -> str:
    return ""


def _unreadable(self: Any, x: NotImported) -> str:  # type: ignore[name-defined] # noqa: F821
    return ""


def _mutable(self: Any, x: list[int] = [1]) -> str:  # noqa: B006
    return ""


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (_variadic, r"takes \*words: write its parameters out"),
        (_keywords, r"takes \*\*words: write its"),
        (_odd_type, "a type that JSON cannot carry"),
        (_unreadable, "'NotImported' is not defined; import it at run time"),
        (_mutable, "cannot be declared"),
    ],
)
def test_a_tool_that_cannot_be_declared_says_why(method: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        tool_spec("f", method)
