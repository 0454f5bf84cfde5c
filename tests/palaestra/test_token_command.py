"""`palaestra token`: printed once, listed without a secret, exchanged and taken back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from gym_core.access import Access
from gym_core.errors import BadRequest, Unauthorized
from palaestra.commands.token import command


def said(*arguments: str, path: Path) -> str:
    result = CliRunner().invoke(command, [*arguments, "--file", str(path)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output.strip()


def test_the_life_of_a_token(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    first = said("new", "trainer", "--scope", "rollouts:run", "--scope", "metrics:read", path=path)
    second = said("rotate", "trainer", path=path)
    access = Access.configured({"PALAESTRA_TOKENS": str(path)})
    for token in (first, second):
        access.check(f"Bearer {token}", "rollouts:run")
    listed = said("list", "--json", path=path)
    assert first not in listed and second not in listed
    (row,) = json.loads(listed)
    assert (row["name"], row["scopes"], row["valid"]) == ("trainer", ["metrics:read", "rollouts:run"], 2)
    assert row["ends"][1] == "never" and row["ends"][0] != "never"
    assert "trainer" in said("list", path=path)
    said("revoke", "trainer", path=path)
    assert json.loads(said("list", "--json", path=path)) == []
    with pytest.raises(Unauthorized):
        Access.configured({"PALAESTRA_TOKENS": str(path)}).check(f"Bearer {second}", "rollouts:run")


def test_the_help_names_every_scope_and_a_wrong_one_its_nearest(tmp_path: Path) -> None:
    assert "policy:weights" in CliRunner().invoke(command, ["new", "--help"]).output
    with pytest.raises(BadRequest) as caught:
        said("new", "a", "--scope", "policy:weight", path=tmp_path / "tokens.json")
    assert "policy:weights" in caught.value.hint
