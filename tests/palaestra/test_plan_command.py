"""`palaestra plan` as a person and as a script sees it."""

from __future__ import annotations

import msgspec
from click.testing import CliRunner

from palaestra.__main__ import cli

PLAN = ["plan", "nano-rlvr"]
TOO_SMALL = [*PLAN, "--gpus", "8", "--gpu", "h100", "--set", "layout.cp=1", "--set", "layout.tp=1"]


def test_a_plan_in_json() -> None:
    done = CliRunner().invoke(cli, [*PLAN, "--gpus", "256", "--json"])
    made = msgspec.json.decode(done.stdout)
    assert done.exit_code == 0 and made["fits"] and made["layout"]["world"] == 256
    assert made["assumptions"]["mean_output"] == 12288
    assert set(made["step_seconds"]) == {"generate", "train", "publish", "total"}


def test_a_plan_for_people_tells_its_assumptions() -> None:
    done = CliRunner().invoke(cli, [*PLAN, "--gpus", "256", "--mean-output", "9000", "--mfu", "0.4"])
    assert done.exit_code == 0
    assert "dp32-ep8-tp2-cp4" in done.stdout and "computed, not measured" in done.stdout
    assert "mean_output 9000" in done.stdout and "mfu 0.4" in done.stdout


def test_what_does_not_fit_exits_with_1() -> None:
    done = CliRunner().invoke(cli, TOO_SMALL)
    assert done.exit_code == 1
    assert "does not fit: while training" in done.stderr and "these fit: none" in done.stderr
    told = msgspec.json.decode(CliRunner().invoke(cli, [*TOO_SMALL, "--json"]).stdout)
    assert told["fits"] is False and told["fitting_layouts"] == []
