"""Ingestion: order kept, every row in one of two files, refusals grouped by reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gym_core.data import ingest as module
from gym_core.data.ingest import Ingested, ingest, routed
from gym_core.data.refusals import MAX_REASONS, Refusals
from gym_core.data.whole_file import WholeFile
from gym_core.errors import BadRow, ErrorInfo, Unavailable

Row = dict[str, Any]


async def even_only(environment: str, rows: list[Row]) -> list[Row | ErrorInfo]:
    """Takes rows whose `n` is even, and says who took them."""
    return [{**row, "by": environment} if row["n"] % 2 == 0 else odd(row["n"]) for row in rows]


def odd(number: int) -> ErrorInfo:
    return BadRow(f"{number} is odd", field=f"list[{number}].n").info()


async def run(folder: Path, check: Any = even_only, prepare: Callable[[Row], Row] = lambda row: row) -> Ingested:
    with WholeFile(folder / "out.jsonl") as out, WholeFile(folder / "refused.jsonl") as refused:
        return await ingest(
            folder / "rows.jsonl", out, refused, check, environment_of=lambda row: str(row["env"]), prepare=prepare
        )


def read(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_rows_keep_their_order_across_environments_and_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH_ROWS", 7)
    (tmp_path / "rows.jsonl").write_text("".join(f'{{"n": {n}, "env": "e{n % 3}"}}\n' for n in range(40)))
    done = await run(tmp_path)
    assert (done.rows, done.taken, done.refusals.count) == (40, 20, 20)
    assert done.by_environment == {"e0": 7, "e1": 6, "e2": 7}
    assert [row["n"] for row in read(tmp_path / "out.jsonl")] == list(range(0, 40, 2))
    assert [row["by"] for row in read(tmp_path / "out.jsonl")[:3]] == ["e0", "e2", "e1"]
    refused = read(tmp_path / "refused.jsonl")
    assert [one["line"] for one in refused] == list(range(2, 41, 2))
    assert refused[0]["row"] == {"n": 1, "env": "e1"}


async def test_reasons_are_grouped_without_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("".join(f'{{"n": {n}, "env": "e"}}\n' for n in range(100)))
    (reason,) = (await run(tmp_path)).refusals.report()
    assert (reason["field"], reason["count"], reason["code"]) == ("list[].n", 50, "bad_row")
    assert reason["lines"] == list(range(2, 41, 2))
    assert reason["message"] == "1 is odd"


async def test_lines_that_are_no_rows_are_kept_beside(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(b'{"n": 2, "env": "e"}\n{"n": \n\xff\xfe\n')
    done = await run(tmp_path)
    assert done.taken == 1
    broken, binary = read(tmp_path / "refused.jsonl")
    assert (broken["line"], broken["text"]) == (2, '{"n": ')
    assert binary["base64"] == "//4="


async def test_what_prepare_refuses_keeps_the_row_as_it_came(tmp_path: Path) -> None:
    def prepare(row: Row) -> Row:
        if row["n"] == 4:
            raise BadRow("no four", field="n")
        return {**row, "seen": True}

    (tmp_path / "rows.jsonl").write_text('{"n": 2, "env": "e"}\n{"n": 4, "env": "e"}\n{"n": 3, "env": "e"}\n')
    await run(tmp_path, prepare=prepare)
    assert read(tmp_path / "out.jsonl") == [{"n": 2, "env": "e", "seen": True, "by": "e"}]
    assert [one["row"] for one in read(tmp_path / "refused.jsonl")] == [{"n": 4, "env": "e"}, {"n": 3, "env": "e"}]


async def test_a_service_that_fails_leaves_neither_file(tmp_path: Path) -> None:
    async def gone(_: str, rows: list[Row]) -> list[Row | ErrorInfo]:
        raise Unavailable("nobody there")

    (tmp_path / "rows.jsonl").write_text('{"n": 2, "env": "e"}\n')
    with pytest.raises(Unavailable):
        await run(tmp_path, gone)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"environment": "math", "agent_ref": {"name": "x"}}, "math"),
        ({"agent_ref": {"type": "responses_api_agents", "name": "mcqa_simple_agent"}}, "mcqa_simple_agent"),
        ({"environment_name": "workplace_assistant"}, "workplace_assistant"),
        ({"agent_ref": "mcqa"}, ""),
        ({"environment": 3}, ""),
        ({}, ""),
    ],
)
def test_a_row_names_its_environment_in_several_ways(row: Row, name: str) -> None:
    assert routed(row) == name


def test_reasons_without_end_fall_back_to_their_field() -> None:
    refusals = Refusals()
    for number in range(MAX_REASONS + 50):
        word = "".join(chr(97 + int(digit)) for digit in str(number))
        refusals.add(number + 1, BadRow(f"no {word} here", field="x").info())
    report = refusals.report()
    assert len(report) == MAX_REASONS + 1
    assert report[0]["count"] == 50
