"""Whatever a policy calls: a world stays whole, sessions stay apart, and both verdicts give a number."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from environments.workplace import published
from environments.workplace.changes import changes_of
from environments.workplace.company import company, world
from environments.workplace.desk import Desk
from environments.workplace.published import same_state
from environments.workplace.replay import replayed
from environments.workplace.strict import judge
from environments.workplace.tables import COLUMNS, KEY, MUTABLE
from environments.workplace.toolbox import READ_ONLY, TOOLS, run, specs
from gym_core.reply import Reply

KEYS = st.sampled_from(["00000000", "00000003", "00000007", "00000300", "00000200", "500", "501", "", 7])
WORDS = st.sampled_from(
    ["x", "", "(a+)+$", "a@b.c", "Won", "Backlog", "Design", "2023-12-01 10:00:00", "30", "total_visits", "bar", 5, [1]]
)
ANY = st.one_of(WORDS, st.text(max_size=8), st.integers(), st.none(), st.booleans())
OPEN = Desk(world(2))


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    name = draw(st.sampled_from(sorted(TOOLS)))
    fields = specs()[name].parameters["properties"]
    arguments = {}
    for field in fields:
        if draw(st.booleans()) or draw(st.booleans()):
            kind = KEYS if field.endswith("_id") else _fields(name) if field == "field" else ANY
            arguments[field] = draw(kind)
    return name, arguments


def _fields(tool: str) -> st.SearchStrategy[Any]:
    return st.sampled_from([column for table in MUTABLE for column in COLUMNS[table]])


SEQUENCES = st.lists(calls(), max_size=8)


@settings(max_examples=40, deadline=None)
@given(SEQUENCES)
def test_any_calls_leave_a_whole_world(sequence: list[tuple[str, dict[str, Any]]]) -> None:
    before = {table: list(world(2).tables[table]) for table in COLUMNS}
    desk = Desk(world(2))
    for name, arguments in sequence:
        lookups, writes = desk.lookups, desk.writes
        run(desk, name, arguments)
        assert desk.writes == writes or name not in READ_ONLY
        assert desk.lookups == lookups or name in READ_ONLY
    for table, key in KEY.items():
        ids = [row[key] for row in desk.rows(table)]
        assert len(ids) == len(set(ids))
        assert all(isinstance(one, str) for one in ids)
    assert all(OPEN.overlay(table) == [] for table in MUTABLE)
    assert world(2).tables == before == company(2).tables
    desk.close()


@settings(max_examples=30, deadline=None)
@given(SEQUENCES)
def test_a_replay_of_the_same_calls_is_the_same_state(sequence: list[tuple[str, dict[str, Any]]]) -> None:
    recorded = [(name, json.dumps(arguments)) for name, arguments in sequence]
    assert same_state(world(2), recorded, recorded)
    live, again = Desk(world(2)), replayed(world(2), recorded, fixed_keys=True)
    for name, arguments in sequence:
        run(live, name, arguments)
    assert changes_of(live).same(changes_of(again))
    verdict = judge(live, changes_of(again), None, Reply(text="Done."))
    assert verdict.components["collateral"] == verdict.components["missing"] == 0.0
    live.close()
    again.close()


@settings(max_examples=30, deadline=None)
@given(SEQUENCES, SEQUENCES)
def test_the_public_verdict_is_symmetric(
    one: list[tuple[str, dict[str, Any]]], other: list[tuple[str, dict[str, Any]]]
) -> None:
    ours = [(name, json.dumps(arguments)) for name, arguments in one]
    theirs = [(name, json.dumps(arguments)) for name, arguments in other]
    assert same_state(world(2), ours, theirs) == same_state(world(2), theirs, ours)


WRITES = st.lists(
    st.tuples(
        st.sampled_from(["append", "update", "delete"]),
        st.sampled_from(sorted(KEY)),
        st.integers(0, 3),
        st.sampled_from(["x", "X", None, 5]),
    ),
    max_size=5,
)


@settings(max_examples=60, deadline=None)
@given(WRITES, WRITES)
def test_tables_compared_by_what_was_touched_are_those_compared_row_by_row(ours: Any, theirs: Any) -> None:
    desks = [Desk(world(2), fixed_keys=False), Desk(world(2), fixed_keys=False)]
    try:
        for desk, writes in zip(desks, (ours, theirs), strict=True):
            for how, table, number, value in writes:
                field = COLUMNS[table][3]
                key = desk.world.tables[table][number][0]
                if how == "append":
                    desk.append(table, {field: value})
                elif how == "update":
                    desk.update(table, key, field, value)
                else:
                    desk.delete(table, key)
        for table in MUTABLE:
            labels = [published._labelled(desk, table) for desk in desks]
            same = published._same_table(desks[0], desks[1].overlay(table), table, partial(labels.__getitem__, 1))
            assert same == (labels[0] == labels[1])
    finally:
        for desk in desks:
            desk.close()
