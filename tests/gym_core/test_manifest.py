"""The manifest: floors are numbers by panel, a file that is no TOML is refused with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from gym_core.errors import BadRequest
from gym_core.manifest import read_manifest

TEXT = 'name = "x"\nmodule = "environment.py"\nclass = "X"\n'


def test_floors_are_declared_for_all_panels_or_for_one(tmp_path: Path) -> None:
    path = tmp_path / "manifest.toml"
    path.write_text(TEXT)
    assert (read_manifest(path).floor, read_manifest(path).floors) == (None, {})
    path.write_text(TEXT + "floor = 0.5\nfloors = {near_miss = 1.0}\n")
    assert (read_manifest(path).floor, read_manifest(path).floors) == (0.5, {"near_miss": 1.0})


@pytest.mark.parametrize(
    ("content", "words"),
    [(b'floor = "half"', "Expected `float"), (b"name = \xff", "manifest.toml"), (b"floors = {a = []}", "floors")],
)
def test_what_does_not_fit_is_refused_with_the_file(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "manifest.toml"
    path.write_bytes(TEXT.encode() + content)
    with pytest.raises(BadRequest, match=words) as refused:
        read_manifest(path)
    assert str(path) in refused.value.message
