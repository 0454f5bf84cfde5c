r"""The first list of objects in a text, exactly as the public verifier's regular expression finds it, in linear time.

    \[ X* \{ X* \} X* \]     with X = [^\[\]] | \{[^}]*\}          (dot matches newlines, leftmost match)

Python's matcher walks this by backtracking, which takes exponential time on `[{}{}{}…`. The walk has only three states
(before, inside and after the object that must be there) at each position, all steps lead to the right, and the rest of
a match depends on state and position alone. So the outcome of each state is computed once, from the right to the left:
the first alternative, in the matcher's own order, that leads to a match. The number of steps the backtracking would
have taken is summed on the way, which tells whether the public verifier would have come back at all.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_STEPS = 2e8
"""Steps of backtracking after which the public verifier counts as hanging: a quarter of a minute and more."""

_MARKS = re.compile(r"[\[\]{}]")
_STATES = (0, 1, 2)
_LEAVES = ("{", "}", "]")
"""The character on which each state gives way to the next one."""


class Search(NamedTuple):
    """`found` is the matched text or None; `steps` what backtracking would have spent."""

    found: str | None
    steps: float


def first_list(text: str) -> Search:
    """The match of the public expression and its price. Time and memory grow with the number of brackets."""
    starts: list[tuple[int, int, float]] = []
    ends = [-1, -1, -1]  # end of the match from here in each state, -1 where there is none
    steps = [1.0, 1.0, 1.0]
    after_close: tuple[list[int], list[float]] | None = None  # outcomes right after the nearest `}`
    right = len(text)
    for mark in reversed(list(_MARKS.finditer(text))):
        position, character = mark.start(), mark.group()
        run = right - position - 1  # ordinary characters between this mark and the one to the right
        ends_right, steps_right = ends, [count + run for count in steps]
        if character == "[":
            starts.append((position, ends_right[0], steps_right[0]))
        if character == "}":
            after_close = (ends_right, steps_right)
        ends, steps = [], []
        for state in _STATES:
            end, spent = _from(state, character, position, (ends_right, steps_right), after_close)
            ends.append(end)
            steps.append(spent)
        right = position
    total = 0.0
    for position, end, spent in reversed(starts):
        total += spent
        if end >= 0:
            return Search(text[position:end], total)
    return Search(None, total)


def _from(
    state: int,
    character: str,
    position: int,
    right: tuple[list[int], list[float]],
    after_close: tuple[list[int], list[float]] | None,
) -> tuple[int, float]:
    """End of the match from this state at this mark, and the steps spent: three alternatives in the matcher's order."""
    spent = 1.0
    if character in "{}":
        spent += right[1][state]
        if right[0][state] >= 0:
            return right[0][state], spent
    if character == "{" and after_close is not None:
        spent += after_close[1][state]
        if after_close[0][state] >= 0:
            return after_close[0][state], spent
    if character == _LEAVES[state]:
        if state == 2:
            return position + 1, spent
        spent += right[1][state + 1]
        return right[0][state + 1], spent
    return -1, spent
