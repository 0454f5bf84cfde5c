"""Rows from outside: published ones on the published world, and rows by hand on one of our companies.

A published row means the published data. That is not part of this project: whoever has it names its folder in
PALAESTRA_WORKPLACE_DATA; without it such a row is refused, because its ids would name other mails and events here.
"""

from __future__ import annotations

import csv
import os
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from environments.workplace.company import COMPANIES, world
from environments.workplace.desk import Tables, World
from environments.workplace.replay import read_arguments, replayed
from environments.workplace.tables import COLUMNS, CUSTOMERS, EMAILS, EVENTS, MUTABLE, PLOTS, TASKS, VISITS
from environments.workplace.toolbox import TOOLS, specs
from gym_core.contracts import Task
from gym_core.errors import BadRow

VARIABLE = "PALAESTRA_WORKPLACE_DATA"
PUBLISHED = "published"
"""The name of the published world, as companies have their numbers."""

FILES = {
    EMAILS: "emails.csv",
    EVENTS: "calendar_events.csv",
    VISITS: "analytics_data.csv",
    TASKS: "project_tasks.csv",
    CUSTOMERS: "customer_relationship_manager_data.csv",
}
DIRECTORY = "email_addresses.csv"

WorldName = int | str


def world_of(name: WorldName) -> World:
    """The base database of a company's number, or of the published data. Raises `BadRow` where that is not here."""
    return world(name) if isinstance(name, int) else published_world(os.environ.get(VARIABLE, ""))


@cache
def published_world(folder: str) -> World:
    """The published world from the CSV files of a folder, which may lie in `processed/` and `raw/` below it."""
    if not folder:
        raise BadRow(
            "the row's ground truth names mails and events of the published data, which is not part of Palaestra",
            field="ground_truth",
            hint=f"set {VARIABLE} to a folder with {', '.join([*FILES.values(), DIRECTORY])}, "
            f"or give the row a `company` from 0 to {COMPANIES - 1}",
        )
    tables: Tables = {table: _rows(Path(folder), table, name) for table, name in FILES.items()}
    addresses = _find(Path(folder), DIRECTORY).read_text(encoding="utf-8").split()
    return World(addresses, {**tables, PLOTS: []})


def _find(folder: Path, name: str) -> Path:
    for place in (folder, folder / "processed", folder / "raw"):
        if (place / name).is_file():
            return place / name
    raise BadRow(f"there is no {name} in the folder that {VARIABLE} names", field="ground_truth")


def _rows(folder: Path, table: str, name: str) -> list[tuple[Any, ...]]:
    with _find(folder, name).open(encoding="utf-8", newline="") as lines:
        reader = csv.DictReader(lines)
        if tuple(reader.fieldnames or ()) != COLUMNS[table]:
            raise BadRow(f"{name} has columns {reader.fieldnames}, not {list(COLUMNS[table])}", field="ground_truth")
        return [
            tuple(row[c] == "True" if c == "user_engaged" else row[c] or None for c in COLUMNS[table]) for row in reader
        ]


def read_row(task: Task) -> Task:
    """The task with its world and the calls that solve it. Raises `BadRow` naming the field."""
    name = _world_name(task)
    truth = _ground_truth(task.fields.get("ground_truth"))
    answer = task.fields.get("expected_answer")
    if answer is not None and not (isinstance(answer, str) and answer.strip()):
        raise BadRow("`expected_answer` is the text of the whole reply, or left out", field="expected_answer")
    _check_effect(world_of(name), truth)
    hidden = {**task.hidden, "world": name, "truth": truth, "answer": answer}
    return msgspec.structs.replace(task, responses_create_params=_with_tools(task), hidden=hidden)


def _world_name(task: Task) -> WorldName:
    number = task.fields.get("company")
    if number is None:
        return PUBLISHED
    if type(number) is not int or not 0 <= number < COMPANIES:
        raise BadRow(f"`company` is a whole number from 0 to {COMPANIES - 1}", field="company")
    return number


def _ground_truth(given: Any) -> list[tuple[str, str]]:
    if isinstance(given, str):
        try:
            given = msgspec.json.decode(given)
        except msgspec.DecodeError:
            raise BadRow("`ground_truth` is text, but not JSON", field="ground_truth") from None
    if not isinstance(given, list):
        raise BadRow("a workplace row needs `ground_truth`, a list of calls", field="ground_truth")
    calls = []
    for number, call in enumerate(given):
        where = f"ground_truth[{number}]"
        if not isinstance(call, dict) or call.get("name") not in TOOLS:
            raise BadRow("a call has the `name` of one of the 27 tools", field=f"{where}.name")
        if read_arguments(call.get("arguments")) is None:
            raise BadRow("`arguments` is a JSON object, written as text", field=f"{where}.arguments")
        calls.append((call["name"], call["arguments"]))
    return calls


def _check_effect(base: World, truth: list[tuple[str, str]]) -> None:
    """A ground truth of which no call has any effect means another world, or makes silence right."""
    desk = replayed(base, truth, fixed_keys=True)
    changed = any(desk.overlay(table) for table in MUTABLE)
    desk.close()
    if truth and not changed:
        raise BadRow("no call of `ground_truth` changes anything in this world", field="ground_truth")


def _with_tools(task: Task) -> dict[str, Any]:
    """The parameters with tools: all of ours where the row declares none, its own choice otherwise."""
    params = task.responses_create_params
    tools = params.get("tools")
    if not tools:
        return {**params, "tools": [spec.declaration() for spec in specs().values()]}
    if not isinstance(tools, list):
        raise BadRow("`tools` must be a list", field="responses_create_params.tools")
    for number, declared in enumerate(tools):
        name = declared.get("name") if isinstance(declared, dict) else None
        if name not in TOOLS:
            raise BadRow(f"no tool {str(name)[:60]!r}", field=f"responses_create_params.tools[{number}].name")
    return params
