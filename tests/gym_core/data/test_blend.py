"""Blends: proportions in every prefix, no row twice in an epoch, the same for the same seed."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gym_core.data.blend import Filled, blend_rows, named, size_of, turns
from gym_core.data.recipe import Part, read_blend
from gym_core.data.sources import FileSource, GeneratedSource
from gym_core.errors import BadRequest
from gym_core.loading import load_file

samples = load_file(Path(__file__).resolve().parents[1] / "samples.py")


def file_of(path: Path, count: int, epochs: int = 1) -> FileSource:
    path.write_text("".join(f'{{"n": {n}}}\n' for n in range(count)))
    return FileSource.at(path, epochs)


def two(folder: Path, first: int, second: int, epochs: int = 1) -> list[Filled]:
    """Parts a and b, weights 3 and 1."""
    return [
        Filled(Part(name=name, weight=weight, file="x"), file_of(folder / f"{name}.jsonl", count, epochs))
        for name, weight, count in (("a", 3, first), ("b", 1, second))
    ]


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=8), st.integers(1, 300))
def test_every_prefix_holds_every_part_to_its_share(weights: list[float], rows: int) -> None:
    taken = Counter(islice(turns(weights), rows))
    for place, weight in enumerate(weights):
        assert abs(taken[place] - weight / sum(weights) * rows) <= max(1.0, len(weights) / 2)


def test_turns_worked_by_hand() -> None:
    assert list(islice(turns([3, 1]), 8)) == [0, 0, 1, 0, 0, 0, 1, 0]


def test_as_many_rows_as_the_files_allow(tmp_path: Path) -> None:
    filled = two(tmp_path, 30, 4)
    assert size_of(filled, 0) == 18  # b comes as rows 3, 7, 11, 15, and would come again as row 19
    with pytest.raises(BadRequest, match=r"'b' has 4 rows, 40 rows of this blend need 10") as refused:
        size_of(filled, 40)
    assert "epochs" in refused.value.hint


def test_rows_come_once_per_epoch_in_the_order_of_the_seed(tmp_path: Path) -> None:
    filled = two(tmp_path, 12, 4, epochs=2)
    size = size_of(filled, 32)
    made = list(blend_rows(filled, rows=size, seed=5, window=8))
    seen = Counter((name, row["n"]) for name, row in made)
    assert Counter(name for name, _ in made) == {"a": 24, "b": 8}
    assert set(seen.values()) == {2} and len(seen) == 16
    first = [row["n"] for name, row in made if name == "a"]
    assert sorted(first[:12]) == sorted(first[12:]) == list(range(12))
    assert made == list(blend_rows(two(tmp_path, 12, 4, epochs=2), rows=size, seed=5, window=8))
    assert made != list(blend_rows(two(tmp_path, 12, 4, epochs=2), rows=size, seed=6, window=8))


def test_each_window_holds_the_proportions(tmp_path: Path) -> None:
    made = list(blend_rows(two(tmp_path, 60, 20), rows=80, seed=1, window=8))
    assert all(Counter(name for name, _ in made[at : at + 8]) == {"a": 6, "b": 2} for at in range(0, 80, 8))


def test_a_part_names_rows_that_name_nothing_themselves() -> None:
    part = Part(name="dapo", weight=1, environment="math")
    assert named({"n": 1}, part) == {"n": 1, "dataset": "dapo", "environment": "math"}
    kept = {"dataset": "own", "agent_ref": {"name": "x"}}
    assert named(kept, part) == kept


def test_generated_parts_take_their_levels_in_turn() -> None:
    source = GeneratedSource(samples.Sums(), [0, 2])
    filled = [Filled(Part(name="sums", weight=1, environment="sums"), source)]
    rows = [row for _, row in blend_rows(filled, rows=6, seed=3, window=1)]
    assert [row["task_ref"]["level"] for row in rows] == [0, 2, 0, 2, 0, 2]
    assert len({row["task_id"] for row in rows}) == 6
    with pytest.raises(BadRequest, match="say how many rows"):
        size_of(filled, 0)


def recipe(folder: Path, text: str) -> Any:
    (folder / "r.toml").write_text(text)
    return read_blend(folder / "r.toml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "part"),
        ("part = []", r"no \[\[part\]\]"),
        ('[[part]]\nname = "a"\nwieght = 1', "wieght"),
        ('[[part]]\nname = "a"\nweight = 0\nfile = "x"', "must be above 0"),
        ('[[part]]\nname = "a"\nweight = nan\nfile = "x"', "must be above 0"),
        ('[[part]]\nname = "a"\nweight = 1', "needs a file, or an environment"),
        ('epochs = 0\n[[part]]\nname = "a"\nweight = 1\nfile = "x"', "`epochs` is 1 or more"),
        ('[[part]]\nname = "a"\nweight = 1\nfile = "x"\n' * 2, "2 parts named 'a'"),
        ("= 3", "is not TOML"),
    ],
)
def test_a_recipe_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        recipe(tmp_path, text)


def test_a_mistyped_key_is_told_the_right_one(tmp_path: Path) -> None:
    with pytest.raises(BadRequest) as refused:
        recipe(tmp_path, '[[part]]\nname = "a"\nwieght = 1')
    assert "weight" in refused.value.hint


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "e.jsonl").write_text("\n")
    with pytest.raises(BadRequest, match="holds no rows"):
        FileSource.at(tmp_path / "e.jsonl")
