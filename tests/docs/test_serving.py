"""The tables of the serving page say what the settings are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from agent_server.config import AgentConfig
from gym_core.serve import GRACE_S
from palaestra.__main__ import cli
from policy_server.config import PolicyConfig

PAGE = (Path(__file__).resolve().parents[2] / "docs/serving.md").read_text()
TABLES = re.findall(r"^\| setting \| default \| bounds \|\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)


@pytest.mark.parametrize(("table", "kind"), list(zip(TABLES, [PolicyConfig, AgentConfig], strict=True)))
def test_settings_have_the_defaults_that_the_page_tells(table: str, kind: type[Any]) -> None:
    told = {}
    for names, values in re.findall(r"^\| (.+?) \| (.+?) \|", table, re.MULTILINE):
        told.update(zip(re.findall(r"`(\w+)`", names), values.split(", "), strict=True))
    assert told
    defaults = {field.name: str(field.default) for field in msgspec.structs.fields(kind)}
    assert told == {name: defaults.get(name) for name in told}


def test_the_commands_of_the_page_have_their_options() -> None:
    commands = re.findall(r"^(?:\w+=\S+ )?palaestra ((?:env|agent|sandbox)? ?serve) (.*)$", PAGE, re.MULTILINE)
    assert len(commands) == 9
    for command, rest in commands:
        shown = CliRunner().invoke(cli, [*command.split(), "--help"], standalone_mode=False).output
        assert [option for option in re.findall(r"--[\w-]+", rest) if option not in shown] == []


def test_a_service_is_gone_after_the_seconds_that_the_page_tells() -> None:
    assert "within five seconds of SIGTERM" in PAGE
    assert GRACE_S == 5.0
