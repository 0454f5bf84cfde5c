"""How many expected calls were made, each call counted once: a largest matching, because comparing is not exact.

One call may fit several expected ones; pairing them as they come could leave a later one without its only partner.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Named = tuple[str, Any]
"""The name of a tool, and its arguments read."""


def matches(wanted: Sequence[Named], given: Sequence[Named], same: Callable[[Any, Any], bool]) -> int:
    """Size of a largest matching between wanted and given calls of one name (Kuhn's algorithm)."""
    fits = [
        [place for place, (name, value) in enumerate(given) if name == wanted_name and same(wanted_value, value)]
        for wanted_name, wanted_value in wanted
    ]
    owner: dict[int, int] = {}

    def place_for(one: int, tried: set[int]) -> bool:
        for place in fits[one]:
            if place in tried:
                continue
            tried.add(place)
            if place not in owner or place_for(owner[place], tried):
                owner[place] = one
                return True
        return False

    return sum(place_for(one, set()) for one in range(len(wanted)))
