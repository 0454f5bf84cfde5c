"""`palaestra nemo-gym collect` against a head; `serve` is tried by the shim, which starts it (tests/compat)."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent.parent / "agent_server"))
sys.path.insert(0, str(Path(__file__).parent.parent / "conformance"))

from whole_gym import open_gym

from gym_core.errors import BadRequest
from palaestra.__main__ import cli


async def test_collect_writes_the_four_files_and_says_where(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        gym, _ = await open_gym(stack, tmp_path)
        rows = tmp_path / "rows.jsonl"
        rows.write_text("".join(json.dumps(row) + "\n" for row in gym.math))
        arguments = ["nemo-gym", "collect", str(rows), str(tmp_path / "out.jsonl"), "--head", gym.head.url]
        ran = await asyncio.to_thread(CliRunner().invoke, cli, [*arguments, "--repeats", "2", "--limit", "2"])
    assert ran.exit_code == 0, ran.output
    assert "4 rollouts" in ran.output and "0 failures in out_failures.jsonl" in ran.output
    names = ("out.jsonl", "out_materialized_inputs.jsonl", "out_failures.jsonl", "out_aggregate_metrics.json")
    assert all((tmp_path / name).exists() for name in names)
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 4


def test_a_head_wants_an_environment() -> None:
    ran = CliRunner().invoke(cli, ["nemo-gym", "serve"])
    assert isinstance(ran.exception, BadRequest) and ran.exception.field == "environments"


@pytest.mark.parametrize("arguments", [["serve", "--failures", "zero"], ["serve", "--env", "math"], ["collect"]])
def test_wrong_usage_is_said(arguments: list[str]) -> None:
    assert CliRunner().invoke(cli, ["nemo-gym", *arguments]).exit_code == 2
