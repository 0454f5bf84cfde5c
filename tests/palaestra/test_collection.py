"""Reading rows, naming rollouts, resuming, and what pass@k says."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gym_core.contracts import RUN_KEY, Sampling
from gym_core.errors import BadRequest, BadRow
from palaestra.collection import Tally, pass_at_k, read_done, read_rows, requests_for

ROW = {"responses_create_params": {"input": "hi"}, "note": 1}


def test_pass_at_k_by_hand() -> None:
    assert pass_at_k(4, 1, 1) == pytest.approx(0.25)
    assert pass_at_k(4, 1, 2) == pytest.approx(0.5)  # 1 - C(3,2)/C(4,2) = 1 - 3/6
    assert pass_at_k(4, 4, 1) == 1.0
    assert pass_at_k(4, 0, 4) == 0.0


@given(st.integers(1, 12), st.data())
def test_pass_at_k_grows_with_k(n: int, data: st.DataObject) -> None:
    c = data.draw(st.integers(0, n))
    values = [pass_at_k(n, c, k) for k in range(1, n + 1)]
    assert values == sorted(values) and values[0] == pytest.approx(c / n)


def test_failed_rollouts_are_counted_and_not_averaged() -> None:
    tally = Tally()
    tally.add("a", "scored", 1.0)
    tally.add("a", "policy_error", None)
    tally.add("b", "truncated", 0.0)
    summary = tally.summary(2, 1.0)
    assert summary["mean_reward"] == pytest.approx(0.5)
    assert summary["outcomes"] == {"policy_error": 1, "scored": 1, "truncated": 1}
    assert summary["pass@1"] == pytest.approx(0.5) and "pass@2" not in summary


@pytest.mark.parametrize(
    ("text", "field"),
    [("{", "line 2"), ('{"a": 1}', "responses_create_params"), ('{"responses_create_params": {"input": ""}}', "input")],
)
def test_a_bad_row_names_its_line_and_field(tmp_path: Path, text: str, field: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(msgspec.json.encode(ROW) + b"\n" + text.encode())
    with pytest.raises(BadRow, match="line 2") as error:
        read_rows(path)
    assert error.value.field.endswith(field)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n")
    with pytest.raises(BadRow, match="no rows"):
        read_rows(path)


def test_requests_are_named_by_content_and_repeat() -> None:
    options = {
        "environment": "e", "run_id": "r", "repeats": 3, "seed": 1, "sampling": Sampling(), "deadline_s": 5.0
    }  # fmt: skip
    first, second = requests_for([ROW], **options), requests_for([ROW], **options)
    assert first == second and len(first) == 3
    seeds = {row[RUN_KEY]["seed"] for row in first.values()}
    assert len(seeds) == 3
    other = requests_for([{**ROW, "note": 2}], **options)
    assert not set(first) & set(other)


def test_a_torn_line_and_failed_rollouts_are_played_again(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    good = {"rollout_id": "a", "group_id": "g", "outcome": "scored", "reward": 1.0}
    bad = {"rollout_id": "b", "group_id": "g", "outcome": "env_error", "reward": None}
    path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in (good, bad)) + b'{"rollout_id": "c"')
    assert list(read_done(path)) == ["a"]
    assert path.read_bytes().endswith(b"\n")


@pytest.mark.parametrize("text", ["not ours", "{}\n", "[1]\n", '{"rollout_id": "a", "outcome": "won", "reward": 1}\n'])
def test_a_file_that_holds_something_else_is_refused_and_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(text)
    with pytest.raises(BadRequest, match="does not hold rollouts"):
        read_done(path)
    assert path.read_text() == text


def test_blank_lines_do_not_shift_the_lines_of_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\n".join([msgspec.json.encode(ROW), b"", msgspec.json.encode(ROW)]))
    assert list(read_rows(path)) == [1, 3]
