"""The boards against the types that Grafana publishes for the version that compose starts: every field is one of them.

Grafana itself is not to be had here; its SDK drops what it does not know, so what comes back unchanged is known.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
from collections.abc import Iterator
from importlib import import_module
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

COMPOSE = Path(__file__).parents[2] / "compose"
BOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((COMPOSE / "grafana/dashboards").glob("*.json"))}
COLUMNS = 24


def understood(board: dict[str, Any]) -> Any:
    """The board as Grafana's types keep it."""
    register_default_plugins()
    return json.loads(JSONEncoder().encode(Dashboard.from_json(board)))


def changed(given: Any, kept: Any, path: str = "") -> Iterator[str]:
    """Where what was given is not what was kept; what was added to it does not count."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for name, value in given.items():
            if name in kept:
                yield from changed(value, kept[name], f"{path}.{name}")
            else:
                yield f"{path}.{name} is not known"
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for number, (one, other) in enumerate(zip(given, kept, strict=True)):
            yield from changed(one, other, f"{path}[{number}]")
    elif given != kept:
        yield f"{path}: {given!r} became {kept!r}"


def test_the_types_are_those_of_the_version_that_is_started() -> None:
    (image,) = re.findall(r"grafana/grafana:([\d.]+)", (COMPOSE / "compose.yaml").read_text())
    assert importlib.metadata.version("grafana-foundation-sdk").rpartition("!")[2] == image


@pytest.mark.parametrize("name", BOARDS)
def test_every_field_of_a_board_is_one_of_grafanas(name: str) -> None:
    assert list(changed(BOARDS[name], understood(BOARDS[name]))) == []


def test_a_field_that_is_none_is_found() -> None:
    board = json.loads(json.dumps(BOARDS["training"]))
    board["panels"][0]["options"]["mapping"] = "auto"
    board["refresch"] = "10s"
    assert sorted(changed(board, understood(board))) == [
        ".panels[0].options.mapping is not known",
        ".refresch is not known",
    ]


@pytest.mark.parametrize("name", BOARDS)
def test_panels_are_of_kinds_that_there_are_and_lie_side_by_side(name: str) -> None:
    places = []
    for panel in BOARDS[name]["panels"]:
        import_module(f"grafana_foundation_sdk.models.{panel['type']}")
        at = panel["gridPos"]
        assert all(type(at[key]) is int and at[key] >= 0 for key in "xywh") and at["x"] + at["w"] <= COLUMNS
        places.append(at)
    for one, other in combinations(places, 2):
        apart = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert apart or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]


@pytest.mark.parametrize("name", BOARDS)
def test_variables_that_are_asked_for_are_declared(name: str) -> None:
    declared = {one["name"] for one in BOARDS[name].get("templating", {}).get("list", [])}
    targets = [target for panel in BOARDS[name]["panels"] for target in panel["targets"]]
    asked = {found for one in targets for found in re.findall(r"\$(\w+)", one.get("rawSql") or one["expr"])}
    assert asked == declared
