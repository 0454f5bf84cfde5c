"""`palaestra env check`: what it prints, in which form, and with which exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gym_core.check.gate import rule_ids
from gym_core.errors import BadRequest, UnknownName
from palaestra.__main__ import cli

BARE = '''
"""Sums."""
from gym_core.environment import Environment


class PlainSum(Environment):
    """Say the sum; 1.0 for exactly the sum, 0.0 otherwise."""

    def make(self, rng, level):
        one, other = rng.randint(100, 999), rng.randint(100, 999)
        return {"prompt": f"{one} + {other} = ?", "total": one + other}

    def verify(self, task, session, reply):
        return reply.text.strip() == str(task["total"])

    def oracle(self, task):
        return str(task["total"])
'''


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sums.py").write_text(BARE)
    return tmp_path


def check(*words: str) -> Result:
    return CliRunner().invoke(cli, ["env", "check", *words], catch_exceptions=False)


def checked(*words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(check(*words, "--json").stdout)
    return found


def test_a_bare_file_is_checked_by_its_path() -> None:
    result = check("./sums.py", "--quick")
    assert result.exit_code == 0
    assert "plain_sum 1.0.0" in result.stdout
    assert "0 fail" in result.stdout
    assert all(rule in result.stdout for rule in rule_ids())
    assert "a bare file has no cases" in result.stdout  # what was not asked is said


def test_the_report_as_json_has_rules_and_figures() -> None:
    (report,) = checked("./sums.py", "--quick")
    assert (report["name"], report["status"], report["quick"]) == ("plain_sum", "pass", True)
    assert [rule["id"] for rule in report["rules"]] == rule_ids()
    assert {rule["status"] for rule in report["rules"]} == {"pass", "skip"}
    assert all(rule["found"] for rule in report["rules"])
    figures = report["figures"]
    assert (figures["oracle"], figures["idle"]) == (1.0, 0.0)
    assert figures["random"] <= 0.1
    assert 0 < figures["ms_per_verify"] < 1000 and figures["tasks_per_s"] > 0


def test_a_rule_that_fails_is_named_with_the_way_out_and_exit_code_1(desk: Path) -> None:
    (desk / "sums.py").write_text(BARE.replace("reply.text.strip() == str(task", "bool(reply.text) or str(task"))
    result = check("./sums.py", "--rule", "junk", "--rule", "oracle", "--quick")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert any(line.split()[:2] == ["FAIL", "junk"] and "earns 1.000" in line for line in lines)
    assert any("fix:" in line and "compare the whole answer" in line for line in lines)
    assert any(line.split()[:2] == ["pass", "oracle"] for line in lines)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (BARE.replace("def make(self", "def make((self"), "sums.py:9: SyntaxError"),
        ("import nothing_of_that_name", "sums.py:1: ModuleNotFoundError"),
        ("x = 1", "must define one Environment, it defines none"),
        (BARE + "\n\nclass Second(Environment):\n    pass\n", "it defines PlainSum, Second"),
    ],
)
def test_a_file_that_does_not_load_is_a_report_too(desk: Path, code: str, words: str) -> None:
    (desk / "sums.py").write_text(code)
    result = check("./sums.py", "--json")
    assert result.exit_code == 1
    (report,) = json.loads(result.stdout)
    assert report["status"] == "fail"
    assert [rule["id"] for rule in report["rules"] if rule["status"] == "fail"] == ["loads"]
    assert words in report["rules"][0]["found"]


def test_several_are_summed_up(desk: Path) -> None:
    (desk / "more.py").write_text(BARE.replace("PlainSum", "Another"))
    result = check("./sums.py", "./more.py", "--rule", "docs", "--quick")
    assert result.exit_code == 0
    head, rule, *rows = result.stdout.splitlines()[-4:]
    assert head.split() == ["name", "status", "failed", "oracle", "idle", "random", "ms", "tasks/s"]
    assert set(rule.strip()) == {"─"} and [row.split()[0] for row in rows] == ["plain_sum", "another"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "name environments or paths, or say --all"),
        (("./sums.py", "--all"), "name environments or paths, or say --all"),
        (("./sums.py", "--rule", "orcle"), "did you mean oracle"),
    ],
)
def test_wrong_usage_is_exit_code_2(words: tuple[str, ...], said: str) -> None:
    result = check(*words)
    assert result.exit_code == 2
    assert said in result.stderr


def test_what_does_not_exist_is_refused() -> None:
    with pytest.raises(UnknownName, match="no environment is called 'ledgr'") as near:
        check("ledgr")
    assert "did you mean ledger" in near.value.hint
    with pytest.raises(BadRequest, match="there is no file"):
        check("./nothing.py")
    with pytest.raises(BadRequest, match=r"holds no manifest\.toml"):
        check("./nothing/")
