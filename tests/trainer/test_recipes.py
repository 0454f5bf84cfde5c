"""Every recipe that comes along: its page says what to expect, and every key of it that is misspelt is named."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gym_core.errors import BadRequest
from trainer.config import RECIPES, parse_recipe

ROOT = Path(__file__).resolve().parents[2]
PATHS = sorted(RECIPES.glob("*.toml"))
INDEX = dict(re.findall(r"^\| `([\w-]+)` \|.*\(([^)]+)\) \|$", (ROOT / "docs/recipes.md").read_text(), re.MULTILINE))


def test_the_index_names_every_recipe() -> None:
    assert set(INDEX) == {path.stem for path in PATHS}


@pytest.mark.parametrize("name", [path.stem for path in PATHS])
def test_every_recipe_has_a_page_that_says_what_to_expect(name: str) -> None:
    page, _, section = INDEX[name].partition("#")
    text = (ROOT / "docs" / (page or "recipes.md")).read_text()
    headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}
    assert section in headings
    assert name in text


def keys(table: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths of a recipe's own words; the names of environments and the shape's fields are not among them."""
    for key, value in table.items():
        if above != ("environments",):
            yield (*above, key)
        if isinstance(value, dict) and (*above, key) != ("model",):
            yield from keys(value, (*above, key))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_misspelt_key_names_the_right_one(path: Path) -> None:
    checked = 0
    for *tables, key in keys(tomllib.loads(path.read_text())):
        data = {"name": path.stem, **tomllib.loads(path.read_text())}
        table = data
        for name in tables:
            table = table[name]
        wrong = key[0] + key[2:] if len(key) > 2 else f"{key}{key[-1]}"
        table[wrong] = table.pop(key)
        with pytest.raises(BadRequest) as caught:
            parse_recipe(data, path.name)
        assert caught.value.field == ".".join((*tables, wrong))
        assert re.search(rf"\b{key}\b", caught.value.hint), (wrong, caught.value.hint)
        checked += 1
    assert checked > 10
