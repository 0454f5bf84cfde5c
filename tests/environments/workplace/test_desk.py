"""The overlay: what a session writes stays in it, the world stays as it was."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from environments.workplace.company import world
from environments.workplace.desk import KEPT, MANY_WRITES, Desk, World, is_new
from environments.workplace.tables import COLUMNS, CUSTOMERS, EMAILS, EVENTS, MUTABLE, PLOTS, TASKS, VISITS


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk(world(0))
    yield desk
    desk.close()


def test_a_world_has_the_published_sizes_and_columns(desk: Desk) -> None:
    sizes = {table: len(desk.rows(table)) for table in COLUMNS}
    assert sizes == {"emails": 500, "events": 300, "visits": 1000, "plots": 0, "tasks": 300, "customers": 200}
    assert len(desk.world.directory) == 19
    assert list(desk.rows(CUSTOMERS)[0]) == list(COLUMNS[CUSTOMERS])


def test_rows_come_in_the_order_of_the_world(desk: Desk) -> None:
    assert [tuple(row.values()) for row in desk.rows(EMAILS)] == desk.world.tables[EMAILS]
    assert [row["visitor_id"] for row in desk.rows(VISITS)] == [row[1] for row in desk.world.tables[VISITS]]


def test_an_update_keeps_the_place_of_the_row(desk: Desk) -> None:
    key = desk.world.tables[TASKS][7][0]
    assert desk.update(TASKS, key, "task_name", "New")
    rows = desk.rows(TASKS)
    assert rows[7]["task_name"] == "New"
    assert [row["task_id"] for row in rows] == [row[0] for row in desk.world.tables[TASKS]]
    assert len(desk.overlay(TASKS)) == 1


def test_a_new_row_comes_last_and_a_deleted_one_is_gone(desk: Desk) -> None:
    key = desk.world.tables[EVENTS][0][0]
    assert desk.delete(EVENTS, key)
    assert desk.get(EVENTS, key) is None
    desk.append(EVENTS, {"event_id": "00000300", "duration": 30})
    assert desk.rows(EVENTS)[-1]["event_id"] == "00000300"
    assert desk.rows(EVENTS)[-1]["duration"] == 30
    assert len(desk.rows(EVENTS)) == 300
    assert [is_new(position) for position, _, _ in desk.overlay(EVENTS)] == [False, True]


def test_values_keep_their_type(desk: Desk) -> None:
    for value in ("30", 30, 2.5, None):
        desk.append(EVENTS, {"event_id": "00000300", "duration": value})
        assert desk.rows(EVENTS)[-1]["duration"] == value
        assert type(desk.rows(EVENTS)[-1]["duration"]) is type(value)
    desk.append(EVENTS, {"event_id": "00000300", "duration": ["no", "text"]})
    assert isinstance(desk.rows(EVENTS)[-1]["duration"], bytes)


def test_the_highest_id_follows_deletions(desk: Desk) -> None:
    assert desk.highest(EMAILS) == "00000499"
    desk.delete(EMAILS, "00000499")
    assert desk.highest(EMAILS) == "00000498"
    for row in desk.rows(EMAILS):
        desk.delete(EMAILS, row["email_id"])
    assert desk.highest(EMAILS) is None


def test_sessions_share_the_world_and_nothing_else() -> None:
    one, two = Desk(world(0)), Desk(world(0))
    key = world(0).tables[EMAILS][3][0]
    one.delete(EMAILS, key)
    one.update(CUSTOMERS, "00000001", "notes", "x")
    assert two.get(EMAILS, key)
    assert all(two.overlay(table) == [] for table in MUTABLE)
    one.close()
    assert two.get(EMAILS, key)
    two.close()


def test_nobody_can_write_to_the_world(desk: Desk) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        world(0)._db.execute("DELETE FROM emails")
    assert len(desk.rows(EMAILS)) == 500


def test_an_id_that_is_no_text_names_no_row(desk: Desk) -> None:
    assert desk.get(EMAILS, 57) is None
    assert not desk.delete(EMAILS, 57)
    assert not desk.update(EMAILS, None, "body", "x")
    assert desk.writes == 0


def test_what_one_session_changed_is_gone_from_the_overlay_that_the_next_one_gets() -> None:
    small = World([], {table: [("1", *([""] * (len(names) - 1)))] for table, names in COLUMNS.items()})
    one = Desk(small)
    assert one.update(EMAILS, "1", "subject", "secret") and one.delete(CUSTOMERS, "1")
    one.append(PLOTS, {"file_path": "plots/secret.png"})
    overlay = one._db()
    one.close()
    two = Desk(small)
    assert two.get(EMAILS, "1") == dict.fromkeys(COLUMNS[EMAILS], "") | {"email_id": "1"}
    assert two._db() is overlay, "it was lent again"
    assert two.get(CUSTOMERS, "1") and len(two.rows(PLOTS)) == 1
    assert all(two.overlay(table) == [] for table in MUTABLE)
    assert [overlay.execute(f"SELECT count(*) FROM main.{table}").fetchone() for table in MUTABLE] == [(0,)] * 5
    two.close()
    small.close()


def test_two_open_sessions_never_share_an_overlay() -> None:
    desks = [Desk(world(0)) for _ in range(KEPT + 3)]
    assert len({id(desk._db()) for desk in desks}) == KEPT + 3
    for desk in desks:
        desk.close()
    assert len(world(0)._free) == KEPT


def test_a_session_that_wrote_much_keeps_no_room() -> None:
    small = World([], {table: [] for table in COLUMNS})
    desk = Desk(small)
    for number in range(MANY_WRITES + 1):
        desk.append(PLOTS, {"file_path": f"plots/{number}.png"})
    desk.close()
    assert small._free == []
    small.close()


def test_a_closed_desk_reads_nothing_and_closes_again() -> None:
    desk = Desk(world(0))
    desk.rows(PLOTS)
    desk.close()
    desk.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        desk.rows(PLOTS)
