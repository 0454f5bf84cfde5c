"""Depth of what was read, against a walk that recurses."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gym_core import depth
from gym_core.depth import MAX_DEPTH, too_deep


class Asked(msgspec.Struct):
    name: str = ""
    row: Any = None


def nested(levels: int, opened: str = "[", closed: str = "]") -> Any:
    return msgspec.json.decode(opened * levels + "0" + closed * levels)


def levels_of(value: Any) -> int:
    if not isinstance(value, dict | list):
        return 0
    return 1 + max(map(levels_of, value.values() if isinstance(value, dict) else value), default=0)


@pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ('{"a":', "}")])
def test_the_bound_is_exact(opened: str, closed: str) -> None:
    assert not too_deep(nested(MAX_DEPTH, opened, closed))
    assert too_deep(nested(MAX_DEPTH + 1, opened, closed))
    assert not too_deep(Asked(row=nested(MAX_DEPTH - 1, opened, closed)))
    assert too_deep(Asked(row=nested(MAX_DEPTH, opened, closed)))


def test_what_is_wide_or_text_is_not_deep() -> None:
    assert not too_deep([[{}]] * 1000)
    assert not too_deep({"a": "[" * 1000})
    assert not too_deep("text") and not too_deep(None)


values = st.recursive(
    st.text(max_size=3) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=20,
)


@given(value=values)
def test_it_is_what_a_walk_finds(value: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for bound in range(6):
            patch.setattr(depth, "MAX_DEPTH", bound)
            assert too_deep(value) == (levels_of(value) > bound)
