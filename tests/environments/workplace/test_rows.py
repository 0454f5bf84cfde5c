"""Rows from outside: by hand, and published ones with and without the published data."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from environments.workplace.company import company, world
from environments.workplace.environment import Workplace
from environments.workplace.rows import DIRECTORY, FILES, VARIABLE
from environments.workplace.tables import COLUMNS
from gym_core.contracts import Task
from gym_core.environment import Call, Script
from gym_core.errors import BadRow
from gym_core.play import play_script

TRUTH = [{"name": "email_delete_email", "arguments": '{"email_id": "00000003"}'}]


def row(**fields: Any) -> Task:
    made = {"responses_create_params": {"input": "Delete email 00000003."}, "company": 0, "ground_truth": TRUTH}
    return Task.from_row({**made, **fields}, "workplace")


async def test_a_row_by_hand_is_graded() -> None:
    environment = Workplace()
    task = environment.ingest(row())
    assert len(task.responses_create_params["tools"]) == 27
    _, verdict = await play_script(environment, task)
    assert verdict is not None and verdict.gradings == {"strict": 1.0, "published": 1.0}
    wrong = Script((Call("email_delete_email", {"email_id": "00000004"}),))
    _, verdict = await play_script(environment, task, wrong)
    assert verdict is not None and verdict.gradings == {"strict": 0.0, "published": 0.0}


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"ground_truth": None}, "ground_truth"),
        ({"ground_truth": "{"}, "ground_truth"),
        ({"ground_truth": [{"name": "verify", "arguments": "{}"}]}, "ground_truth[0].name"),
        ({"ground_truth": [{"name": "email_delete_email", "arguments": "["}]}, "ground_truth[0].arguments"),
        ({"ground_truth": [{"name": "email_delete_email", "arguments": '{"email_id": "9"}'}]}, "ground_truth"),
        ({"company": 99}, "company"),
        ({"company": True}, "company"),
        ({"expected_answer": " "}, "expected_answer"),
    ],
)
def test_bad_rows_are_refused_with_their_field(fields: dict[str, Any], where: str) -> None:
    with pytest.raises(BadRow) as refused:
        Workplace().ingest(row(**fields))
    assert refused.value.field == where


def test_a_published_row_without_its_data_is_refused_with_the_way_out(
    published_rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    for line in (published_rows / "workplace_assistant.jsonl").read_text().splitlines():
        with pytest.raises(BadRow) as refused:
            Workplace().ingest(Task.from_row(json.loads(line), "workplace"))
        assert VARIABLE in str(refused.value.hint)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder as the published one, filled with one of our worlds."""
    for table, name in FILES.items():
        with (tmp_path / name).open("w", newline="") as lines:
            writer = csv.writer(lines)
            writer.writerow(COLUMNS[table])
            writer.writerows(company(1).tables[table])
    (tmp_path / DIRECTORY).write_text("\n".join(world(1).directory))
    return tmp_path


async def test_published_rows_are_taken_unchanged_where_their_data_is(
    published_rows: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(data))
    environment = Workplace()
    for line in (published_rows / "workplace_assistant.jsonl").read_text().splitlines():
        given = json.loads(line)
        task = environment.ingest(Task.from_row(given, "workplace"))
        back = task.to_row()
        assert {key: back[key] for key in given} == given
        _, verdict = await play_script(environment, task)
        assert verdict is not None and verdict.gradings == {"strict": 1.0, "published": 1.0}
        _, idle = await play_script(environment, task, "Done.")
        assert idle is not None and idle.gradings == {"strict": 0.0, "published": 0.0}


def test_a_folder_that_lacks_a_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    task = row()
    del task.fields["company"]
    with pytest.raises(BadRow, match=r"emails\.csv"):
        Workplace().ingest(task)
