"""`palaestra data`: files in, files out, exit codes 0, 1 and 2, and what is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gym_core.errors import BadRequest, UnknownName
from palaestra.__main__ import cli
from palaestra.commands.data import parse_levels

DAPO = "nano_v3_sft_profiled_dapo17k"
SKYWORK = "nano_v3_sft_profiled_skywork_no_omni"
GOOD = {"responses_create_params": {"input": "2+2?"}, "expected_answer": "4", "kept": {"x": [1]}}


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def data(*words: str) -> Result:
    return CliRunner().invoke(cli, ["data", *words], catch_exceptions=False)


def told(*words: str, code: int = 0) -> Any:
    result = data(*words, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def write(name: str, *rows: Any) -> str:
    Path(name).write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return name


def read(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(name).read_text().splitlines()]


def files() -> list[str]:
    return sorted(path.name for path in Path().iterdir())


# build ------------------------------------------------------------------------------------------------------------


def test_build_writes_different_tasks_of_each_level_and_the_same_again() -> None:
    report = told("build", "math", "--level", "0,2-3", "--count", "5", "--seed", "4", "--out", "a.jsonl")
    assert (report["rows"], report["levels"]) == (15, {"0": 5, "2": 5, "3": 5})
    told("build", "math", "--level", "0,2-3", "--count", "5", "--seed", "4", "--out", "b.jsonl")
    assert Path("a.jsonl").read_bytes() == Path("b.jsonl").read_bytes()
    assert len({row["task_id"] for row in read("a.jsonl")}) == 15
    assert [row["task_ref"]["level"] for row in read("a.jsonl")] == [0] * 5 + [2] * 5 + [3] * 5


def test_a_level_that_is_not_there_leaves_no_file() -> None:
    with pytest.raises(BadRequest, match="has levels 0"):
        data("build", "math", "--level", "77", "--out", "a.jsonl")
    assert files() == []


def test_a_published_set_cannot_be_built_but_says_where_it_is() -> None:
    with pytest.raises(BadRequest, match="is a published set") as refused:
        data("build", "knowledge_mcqa", "--out", "a.jsonl")
    assert "huggingface.co" in refused.value.hint and "data ingest stem_qa" in refused.value.hint


def test_a_mistyped_name_is_told_the_nearest() -> None:
    with pytest.raises(UnknownName) as refused:
        data("build", "maths", "--out", "a.jsonl")
    assert "math" in refused.value.hint


@pytest.mark.parametrize(("text", "levels"), [("3", [3]), ("0-2", [0, 1, 2]), ("4,0-1,4", [4, 0, 1])])
def test_levels_are_numbers_and_ranges(text: str, levels: list[int]) -> None:
    assert parse_levels(text) == levels


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "3-1"])
def test_levels_that_are_none_are_a_usage_error(text: str) -> None:
    assert data("build", "math", "--level", text or ",", "--out", "a.jsonl").exit_code == 2


# ingest -----------------------------------------------------------------------------------------------------------


def test_ingest_takes_what_is_right_and_keeps_the_rest_beside() -> None:
    write(
        "rows.jsonl",
        GOOD,
        "{broken",
        {"responses_create_params": {"input": "?"}},
        {**GOOD, "expected_answer": "\\frac{1"},
        {**GOOD, "agent_ref": {"name": "mcqa_simple_agent"}},
        {"dataset": DAPO, "_hf_placeholder": {"row": 1, "question_template": {"prefix": "P ", "suffix": " S"}}},
        GOOD,
    )
    report = told("ingest", "math_with_judge", "rows.jsonl", "--out", "out.jsonl", code=1)
    assert (report["rows"], report["taken"], report["refused"]) == (7, 2, 5)
    lines = {reason["field"]: reason["lines"] for reason in report["reasons"] if reason["field"] != "expected_answer"}
    assert lines == {"": [2], "environment": [5], "_hf_placeholder": [6]}
    assert sorted(r["lines"] for r in report["reasons"] if r["field"] == "expected_answer") == [[3], [4]]
    placeholder = next(reason for reason in report["reasons"] if reason["field"] == "_hf_placeholder")
    assert "BytedTsinghua-SIA/DAPO-Math-17k" in placeholder["message"]
    assert f"--source {DAPO}=FILE" in placeholder["hint"]
    assert [row["line"] for row in read("out.refused.jsonl")] == [2, 3, 4, 5, 6]
    taken = read("out.jsonl")
    assert all(row | GOOD == row and row["environment"] == "math" for row in taken)


def test_placeholders_are_filled_from_local_copies() -> None:
    wrap = "Solve the problem. The last line should be of the form Answer: $A."
    write(
        "dapo.jsonl",
        {"prompt": [{"content": "unused"}], "reward_model": {"ground_truth": "1"}},
        {"prompt": [{"content": f"{wrap}\n\nWhat is 1+1?\n\nRemember."}], "reward_model": {"ground_truth": "2"}},
    )
    write("sky.jsonl", {"prompt": [{"content": "What is 3+4?"}], "reward_model": {"ground_truth": '["7"]'}})
    write(
        "rows.jsonl",
        {"dataset": DAPO, "pass_rate": 0.5, "_hf_placeholder": {"row": 1, "question_template": {"prefix": "P "}}},
        {"dataset": SKYWORK, "_hf_placeholder": {"row": 0, "question_template": "Box: {question}"}},
        {"dataset": SKYWORK, "_hf_placeholder": {"row": 5, "question_template": "Box: {question}"}},
        {"dataset": "other", "_hf_placeholder": {"row": 5}},
    )
    sources = ("--source", "dapo=dapo.jsonl", "--source", "skywork=sky.jsonl")
    report = told("ingest", "auto", "rows.jsonl", "--out", "out.jsonl", *sources, code=1)
    first, second = read("out.jsonl")
    assert first["responses_create_params"]["input"][0]["content"] == "P What is 1+1?"
    assert (first["expected_answer"], first["pass_rate"]) == ("2", 0.5)
    assert (second["expected_answer"], second["question"]) == ("7", "What is 3+4?")
    assert {reason["field"]: reason["lines"] for reason in report["reasons"]} == {
        "_hf_placeholder.row": [3],
        "dataset": [4],
    }


def test_a_file_without_refusals_leaves_no_side_file() -> None:
    write("rows.jsonl", GOOD)
    result = data("ingest", "math", "rows.jsonl", "--out", "out.jsonl")
    assert result.exit_code == 0
    assert "1 of 1 rows taken (math 1)" in result.output
    assert files() == ["out.jsonl", "rows.jsonl"]


def test_a_source_that_cannot_be_meant_is_refused() -> None:
    write("rows.jsonl", GOOD)
    with pytest.raises(BadRequest, match="no placeholders of 'nano'"):
        data("ingest", "math", "rows.jsonl", "--out", "out.jsonl", "--source", "nano=rows.jsonl")
    assert files() == ["rows.jsonl"]


@pytest.mark.parametrize(
    ("file", "kind", "taken"),
    [("math_with_judge", "math_with_judge", 5), ("mcqa", "mcqa", 5), ("calendar", "calendar", 5)],
)
def test_published_rows_are_taken_with_every_field(
    published_rows: Path, desk: Path, file: str, kind: str, taken: int
) -> None:
    source = published_rows / f"{file}.jsonl"
    report = told("ingest", kind, str(source), "--out", "out.jsonl")
    assert report["taken"] == taken
    for row, came in zip(read("out.jsonl"), map(json.loads, source.read_text().splitlines()), strict=True):
        assert set(came) <= set(row)
        assert row["responses_create_params"]["input"] == came["responses_create_params"]["input"]


# stats and mix ----------------------------------------------------------------------------------------------------


def test_stats_of_two_files_tell_what_they_share() -> None:
    told("build", "math", "--level", "2", "--count", "6", "--out", "a.jsonl")
    write("b.jsonl", *read("a.jsonl")[:2], GOOD)
    found = told("stats", "a.jsonl", "b.jsonl")
    assert found["files"][0]["environments"] == {"math": {"rows": 6, "levels": {"2": 6}}}
    assert found["files"][0]["duplicates"] == 0
    assert found["shared"][0]["same"] == 2
    assert "2 of 3 prompts of b.jsonl are in a.jsonl" in data("stats", "a.jsonl", "b.jsonl").output


def test_mix_blends_files_and_generated_tasks_by_seed() -> None:
    write("own.jsonl", *({**GOOD, "n": number} for number in range(10)))
    write(
        "r.toml",
        'name = "r"\nwindow = 4\n[[part]]\nname = "own"\nweight = 1\nfile = "own.jsonl"',
        '[[part]]\nname = "made"\nweight = 3\nenvironment = "math"\nlevels = [1, 2]',
    )
    report = told("mix", "r.toml", "--out", "a.jsonl", "--seed", "3")
    assert {part["part"]: part["rows"] for part in report["parts"]} == {"own": 10, "made": report["rows"] - 10}
    assert report["rows"] in range(38, 44)
    told("mix", "r.toml", "--out", "b.jsonl", "--seed", "3")
    assert Path("a.jsonl").read_bytes() == Path("b.jsonl").read_bytes()
    assert sorted(row["n"] for row in read("a.jsonl") if row["dataset"] == "own") == list(range(10))


def test_parts_that_are_not_here_are_named_and_left_out_only_when_asked() -> None:
    write(
        "r.toml",
        '[[part]]\nname = "made"\nweight = 3\nenvironment = "math"\nlevels = [1]',
        '[[part]]\nname = "gone"\nweight = 3\nenvironment = "no_such_environment"',
    )
    with pytest.raises(BadRequest, match="gone: no environment") as refused:
        data("mix", "r.toml", "--out", "a.jsonl", "--rows", "4")
    assert "--part" in refused.value.hint and "--available" in refused.value.hint
    assert files() == ["r.toml"]
    report = told("mix", "r.toml", "--out", "a.jsonl", "--rows", "4", "--available")
    assert [absent["part"] for absent in report["left_out"]] == ["gone"]
    write("gone.jsonl", GOOD, GOOD)
    report = told("mix", "r.toml", "--out", "a.jsonl", "--rows", "4", "--part", "gone=gone.jsonl")
    assert report["left_out"] == [] and report["rows"] == 4


def test_a_shipped_blend_is_known_by_name() -> None:
    report = told("mix", "rlvr", "--out", "a.jsonl", "--rows", "20", "--available")
    assert {part["part"] for part in report["parts"]} >= {"math_dapo", "stem_qa", "instruction_following"}


def test_the_list_shows_published_counts_and_licences() -> None:
    found = {row["name"]: row for row in told("list")}
    assert found["instruction_following_published"]["rows"] == {"train": 46391}
    assert found["knowledge_mcqa"]["licence"] == "CC-BY-4.0"
    assert found["math"]["generated"] is True
