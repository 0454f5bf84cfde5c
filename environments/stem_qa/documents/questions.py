"""Questions about a sheet whose options cannot be told apart without the document.

For each kind of question there are many candidates (rows, pairs, groups); all options are the right answers to the
same question about other candidates, and the candidate asked for is drawn among them (`choice.exchangeable`). Where
options are names, the names say nothing. `Query` is what a second reader needs to answer from the text alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from environments.stem_qa.choice import TRUTH, Choice, NoOptions, exchangeable
from environments.stem_qa.documents.sheet import Sheet
from environments.stem_qa.documents.themes import Column

MAX_CANDIDATES = 60
MIN_OPTIONS = 4


@dataclass(slots=True, frozen=True)
class Asked:
    """The question, its options, and the query as (kind, arguments)."""

    text: str
    choice: Choice
    query: tuple[str, dict[str, Any]]


def _pick_column(rng: random.Random, sheet: Sheet) -> Column:
    return rng.choice(sheet.columns)


def _values(rng: random.Random, candidates: dict[str, str], count: int) -> tuple[str, Choice]:
    asked, choice = exchangeable(rng, candidates, count)
    _enough(len(choice.options))
    return asked, choice


def _enough(options: int) -> None:
    if options < MIN_OPTIONS:
        raise NoOptions(f"{options} options are too few")


def _names(rng: random.Random, truth: str, others: list[str], count: int, model: str) -> Choice:
    """Names as options: the true one at a drawn place among others."""
    _enough(1 + len(others))
    options = [truth, *rng.sample(others, min(count - 1, len(others)))]
    rng.shuffle(options)
    return Choice(options, options.index(truth), [TRUTH if name == truth else model for name in options])


def lookup(rng: random.Random, sheet: Sheet, count: int) -> Asked:
    column = _pick_column(rng, sheet)
    row, choice = _values(rng, {row: sheet.shown(row, column) for row in sheet.rows}, count)
    text = rng.choice(("What is the {column} of {row}?", "Which {column} is given for {row}?"))
    return Asked(text.format(column=column.name, row=row), choice, ("lookup", {"row": row, "column": column.name}))


def who(rng: random.Random, sheet: Sheet, count: int) -> Asked:
    """The row with a given value."""
    column = _pick_column(rng, sheet)
    shown = [sheet.shown(row, column) for row in sheet.rows]
    row = rng.choice([row for row in sheet.rows if shown.count(sheet.shown(row, column)) == 1] or [""])
    if not row:
        raise NoOptions("all values are shared")
    choice = _names(rng, row, [other for other in sheet.rows if other != row], count, "another row")
    value = sheet.shown(row, column)
    return Asked(
        f"Which {sheet.theme.subject} has a {column.name} of {value}?",
        choice,
        ("who", {"column": column.name, "value": value}),
    )


def extreme(rng: random.Random, sheet: Sheet, count: int) -> Asked:
    """The row at a place of the order by one column: highest, lowest, or on higher demand second highest."""
    column = _pick_column(rng, sheet)
    ordered = sorted(sheet.rows, key=lambda row: sheet.values[row, column.name], reverse=True)
    place, wording = rng.choice(((0, "highest"), (-1, "lowest"), (1, "second-highest")))
    values = [sheet.values[row, column.name] for row in ordered]
    if values.count(values[place]) > 1:
        raise NoOptions("a tie")
    truth = ordered[place]
    choice = _names(rng, truth, [row for row in ordered if row != truth], count, "another row")
    return Asked(
        f"Which {sheet.theme.subject} has the {wording} {column.name} of all?",
        choice,
        ("extreme", {"column": column.name, "place": place}),
    )


def difference(rng: random.Random, sheet: Sheet, count: int) -> Asked:
    """By how much two rows differ."""
    column = _pick_column(rng, sheet)
    pairs = list(combinations(sheet.rows, 2))
    candidates = {}
    for one, two in rng.sample(pairs, min(MAX_CANDIDATES, len(pairs))):
        gap = abs(sheet.values[one, column.name] - sheet.values[two, column.name])
        if gap:
            candidates[f"{one} and {two}"] = column.written(gap)
    pair, choice = _values(rng, candidates, count)
    one, two = pair.split(" and ")
    return Asked(
        f"By how much do {one} and {two} differ in {column.name}?",
        choice,
        ("difference", {"rows": [one, two], "column": column.name}),
    )


def total_of_three(rng: random.Random, sheet: Sheet, count: int) -> Asked:
    """The sum over three rows."""
    column = _pick_column(rng, sheet)
    triples = {tuple(sorted(rng.sample(sheet.rows, 3))) for _ in range(MAX_CANDIDATES)}
    candidates = {
        ", ".join(triple): column.written(sum(sheet.values[row, column.name] for row in triple))
        for triple in sorted(triples)
    }
    asked, choice = _values(rng, candidates, count)
    return Asked(
        f"Add up the {column.name} of {asked}. What is the sum?",
        choice,
        ("total", {"rows": asked.split(", "), "column": column.name}),
    )


def negation(rng: random.Random, sheet: Sheet, count: int) -> Asked:
    """The one row among the options that does not exceed a limit."""
    column = _pick_column(rng, sheet)
    ordered = sorted(sheet.rows, key=lambda row: sheet.values[row, column.name])
    below = rng.randint(1, max(1, len(ordered) - count + 1))
    limit = sheet.values[ordered[below - 1], column.name]
    above = [row for row in ordered if sheet.values[row, column.name] > limit]
    truth = rng.choice([row for row in ordered if sheet.values[row, column.name] <= limit])
    choice = _names(rng, truth, above, count, "exceeds the limit")
    return Asked(
        f"All but one of these {sheet.theme.subject}s have a {column.name} above {column.written(limit)}. "
        "Which one has not?",
        choice,
        ("negation", {"column": column.name, "limit": column.written(limit), "options": choice.options}),
    )


def membership(rng: random.Random, sheet: Sheet, count: int) -> Asked:
    """The group of a row."""
    row = rng.choice(sheet.rows)
    truth = sheet.member[row]
    choice = _names(rng, truth, [group for group in sheet.groups if group != truth], count, "another group")
    return Asked(f"Which {sheet.theme.group} does {row} go with?", choice, ("membership", {"row": row}))


def join(rng: random.Random, sheet: Sheet, count: int) -> Asked:
    """A fact of the group that a row belongs to: two places of the document."""
    column = rng.choice(sheet.trait_columns)
    group, choice = _values(rng, {group: sheet.shown(group, column) for group in sheet.groups}, count)
    members = sheet.members(group)
    if not members:
        raise NoOptions("an empty group")
    row = rng.choice(members)
    return Asked(
        f"What is the {column.name} of the {sheet.theme.group} that {row} goes with?",
        choice,
        ("join", {"row": row, "column": column.name}),
    )


def join_extreme(rng: random.Random, sheet: Sheet, count: int) -> Asked:
    """A fact of the group of the row with the highest value: a search and two places."""
    column = _pick_column(rng, sheet)
    trait = rng.choice(sheet.trait_columns)
    values = {row: sheet.values[row, column.name] for row in sheet.rows}
    high = rng.random() < 0.5
    best = (max if high else min)(values.values())
    rows = [row for row in sheet.rows if values[row] == best]
    if len(rows) > 1:
        raise NoOptions("a tie")
    truth = sheet.member[rows[0]]
    others = [group for group in sheet.groups if group != truth]
    _enough(1 + len(others))
    shown = [truth, *rng.sample(others, min(count - 1, len(others)))]
    rng.shuffle(shown)
    models = [TRUTH if group == truth else f"value of {group}" for group in shown]
    choice = Choice([sheet.shown(group, trait) for group in shown], shown.index(truth), models)
    return Asked(
        f"What is the {trait.name} of the {sheet.theme.group} that the {sheet.theme.subject} with the "
        f"{'highest' if high else 'lowest'} {column.name} goes with?",
        choice,
        ("join_extreme", {"column": column.name, "trait": trait.name, "high": high}),
    )


def group_total(rng: random.Random, sheet: Sheet, count: int) -> Asked:
    """The sum over the members of a group."""
    column = _pick_column(rng, sheet)
    candidates = {
        group: column.written(sum(sheet.values[row, column.name] for row in sheet.members(group)))
        for group in sheet.groups
        if sheet.members(group)
    }
    group, choice = _values(rng, candidates, count)
    return Asked(
        f"Add up the {column.name} of all {sheet.theme.subject}s that go with {sheet.theme.group} {group}. "
        "What is the sum?",
        choice,
        ("group_total", {"group": group, "column": column.name}),
    )


def group_spread(rng: random.Random, sheet: Sheet, count: int) -> Asked:
    """Highest less lowest value within a group."""
    column = _pick_column(rng, sheet)
    candidates = {}
    for group in sheet.groups:
        values = [sheet.values[row, column.name] for row in sheet.members(group)]
        if len(values) > 1 and max(values) > min(values):
            candidates[group] = column.written(max(values) - min(values))
    group, choice = _values(rng, candidates, count)
    return Asked(
        f"Among the {sheet.theme.subject}s that go with {sheet.theme.group} {group}, how far apart are the highest "
        f"and the lowest {column.name}?",
        choice,
        ("group_spread", {"group": group, "column": column.name}),
    )


Question = Callable[[random.Random, Sheet, int], Asked]
