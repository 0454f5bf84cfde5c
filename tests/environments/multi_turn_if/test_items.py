"""Each check by hand, and the share that they make together."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.multi_turn_if.items import KINDS, Item, grade, unpacked


@pytest.mark.parametrize(
    ("kind", "value", "text", "holds"),
    [
        ("number", "12", "It is 12.", True),
        ("number", "12", "12 or 13", False),
        ("number", "12", "12 and 12", False),
        ("number", "12", "x12", False),
        ("number", "12", "12.0", False),
        ("number", "12", "12 and b7", False),
        ("number", "12", "twelve", False),
        ("only", ["Alba", "Corsa"], "Take the Alba!", True),
        ("only", ["Alba", "Corsa"], "alba", True),
        ("only", ["Alba", "Corsa"], "Alba, not Corsa", False),
        ("only", ["Alba", "Corsa"], "Albany", False),
        ("only", ["Alba", "Corsa"], "", False),
        ("lines", ["tent", "map"], " Tent \n\nmap", True),
        ("lines", ["tent", "map"], "map\ntent", False),
        ("lines", ["tent", "map"], "tent\nmap\nmap", False),
        ("lines", ["tent", "map"], "- tent\n- map", False),
        ("exact", "NONE", "NONE.", True),
        ("exact", "NONE", "none", False),
        ("exact", "NONE", "NONE of them", False),
        ("ends", "So it is.", "Twelve. SO IT IS.", True),
        ("ends", "So it is.", "So it is. Twelve.", False),
        ("starts", "Captain", "captain: 12", True),
        ("starts", "Captain", "O Captain", False),
        ("starts", "Captain", "Captains", False),
        ("at_most", "3", "one two three", True),
        ("at_most", "3", "one two three four", False),
        ("at_most", "3", "...", False),
        ("at_least", "3", "one two", False),
        ("without", "the", "a map", True),
        ("without", "the", "THE map", False),
        ("without", "the", "other maps", True),
        ("upper", "capital", "ALL 12", True),
        ("upper", "capital", "All 12", False),
        ("upper", "capital", "12", False),
        ("no_comma", "commas", "a b", True),
        ("no_comma", "commas", "a, b", False),
    ],
)
def test_a_check(kind: str, value: Any, text: str, holds: bool) -> None:
    assert Item(kind, value).holds(text) is holds
    assert Item(kind, value).question.endswith(("?", ".)"))


def test_a_wrong_answer_earns_nothing_however_well_it_is_dressed() -> None:
    items = [
        Item("number", "12", core=True),
        Item("ends", "Over."),
        Item("no_comma", "commas"),
        Item("starts", "Chief"),
    ]
    assert grade(items, "Chief: 12 Over.")[0] == 1.0
    assert grade(items, "12 Over.") == (0.75, [True, True, True, False])
    assert grade(items, "Chief: 13 Over.") == (0.0, [False, True, True, True])
    assert grade([Item("no_comma", "commas")], " ")[0] == 0.0


@given(st.text(max_size=80), st.sampled_from(sorted(KINDS)))
def test_any_text_is_checked(text: str, kind: str) -> None:
    value: Any = {"only": ["a", "b"], "lines": ["a", "b"], "at_most": "3", "at_least": "3"}.get(kind, "a")
    item = Item(kind, value, core=True)
    reward, held = grade([item], text)
    assert reward == float(held[0] and bool(text.strip()))
    assert unpacked([item.packed()]) == [item]
