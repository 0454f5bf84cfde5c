"""The public verifier's verdict: replay the calls and the ground truth on two fresh worlds, compare the tables exactly.

Exactly means: rows in their order, with their labels; every column as text in lower case, except status, list_name and
board, which are compared as they are. A value that is no text is missing after that, and missing equals missing. So

    two mails sent in the other order differ          an event at `2023-12-01T10:00:00` differs from `… 10:00:00`
    a duration of 30 differs from "30", not from 45   an object made and deleted again leaves no difference
    a mail deleted before another one is sent differs from one deleted after: sending renumbers the rows
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from functools import lru_cache, partial
from typing import Any

from environments.workplace.desk import Desk, World, is_new
from environments.workplace.replay import Calls, frozen, replayed
from environments.workplace.tables import COLUMNS, EVENTS, EXACT_CASE, MUTABLE

Overlay = list[tuple[int, int, tuple[Any, ...]]]
Labelled = list[tuple[int, tuple[Any, ...]]]


def same_state(world: World, calls: Iterable[tuple[str, Any]], ground_truth: Iterable[tuple[str, Any]]) -> bool:
    """Whether both lead to the same five tables."""
    truth = frozen(ground_truth)
    right = _after(world, truth)
    with closing(replayed(world, calls, fixed_keys=False)) as ours:
        return all(
            _same_table(ours, right[table], table, partial(_right_labels, world, truth, table)) for table in MUTABLE
        )


@lru_cache(maxsize=512)
def _after(world: World, truth: Calls) -> dict[str, Overlay]:
    """What the right calls touch; the same for every rollout of a task."""
    with closing(replayed(world, truth, fixed_keys=False)) as desk:
        return {table: desk.overlay(table) for table in MUTABLE}


def _right_labels(world: World, truth: Calls, table: str) -> Labelled:
    with closing(replayed(world, truth, fixed_keys=False)) as desk:
        return _labelled(desk, table)


def _same_table(ours: Desk, other: Overlay, table: str, labelled: Callable[[], Labelled]) -> bool:
    """Whether a table is the same as one of which the overlay is known, and on request every row with its label."""
    one = ours.overlay(table)
    if one == other:
        return True
    if _shape(one) == _shape(other):  # so every label is the same: only rows that either of them touched can differ
        return _same_touched(ours, table, one, other)
    return _growth(one) == _growth(other) and _labelled(ours, table) == labelled()


def _shape(overlay: Overlay) -> list[tuple[int, int]]:
    """What labels follow from: the rows that are gone, and the new ones."""
    return [(position, gone) for position, gone, _ in overlay if gone or is_new(position)]


def _growth(overlay: Overlay) -> int:
    """How many rows more than the world's there are."""
    return sum(is_new(position) and not gone for position, gone, _ in overlay) - sum(
        not is_new(position) and gone > 0 for position, gone, _ in overlay
    )


def _same_touched(desk: Desk, table: str, one: Overlay, other: Overlay) -> bool:
    """Whether rows that are there in both have the same values; one that was not touched has the world's."""
    first = {position: values for position, gone, values in one if not gone}
    second = {position: values for position, gone, values in other if not gone}
    for position in first.keys() | second.keys():
        left = first[position] if position in first else desk.of_world(table, position)
        right = second[position] if position in second else desk.of_world(table, position)
        if _lower(table, left) != _lower(table, right):
            return False
    return True


def _labelled(desk: Desk, table: str) -> Labelled:
    """Every row with its label: its number when rows were last renumbered. New events are all labelled 0."""
    placed = desk.placed(table)
    gaps = [position for position, gone, _ in desk.overlay(table) if gone == 1]
    numbered = sorted([*gaps, *(position for position, _ in placed)])
    labels = {position: label for label, position in enumerate(numbered)}
    flat = table == EVENTS
    return [
        (0 if flat and is_new(position) else labels[position], _lower(table, values)) for position, values in placed
    ]


def _lower(table: str, values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(
        value if column in EXACT_CASE else value.lower() if isinstance(value, str) else None
        for column, value in zip(COLUMNS[table], values, strict=True)
    )
