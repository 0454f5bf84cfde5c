"""Every verifier case, and attacks too large for a file of cases, graded in this process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from environments.code_tests import environment as module
from environments.code_tests.environment import Code
from gym_core.contracts import Grading, Verdict
from gym_core.errors import EnvironmentFault
from gym_core.generate import make_tasks
from gym_core.host import Host
from gym_core.reply import text_output

CASES = [json.loads(line) for line in Path(module.__file__).with_name("cases.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    environment = Code()
    yield Host(environment)
    environment.sandbox().close()


def graded(host: Host, row: Any, output: str, grading: Grading = Grading.STRICT) -> Verdict:
    return asyncio.run(host.grade(row, None, text_output(output), grading))


def row(inputs: list[str], outputs: list[str], fn_name: str | None = None, **meta: Any) -> dict[str, Any]:
    tests = {"inputs": inputs, "outputs": outputs, "fn_name": fn_name}
    return {"responses_create_params": {"input": "q"}, "verifier_metadata": {"unit_tests": tests, **meta}}


def fenced(code: str) -> str:
    return f"```python\n{code}\n```"


@pytest.mark.parametrize("number", range(len(CASES)))
def test_every_case_earns_what_it_states(host: Host, number: int) -> None:
    case = CASES[number]
    grading = Grading(case.get("grading", "strict"))
    verdict = graded(host, case["row"], case["output"], grading)
    assert verdict.reward == case["reward"], (case, verdict)


def test_details_name_the_sandbox_and_the_first_failure_and_no_expected_output(host: Host) -> None:
    secret = "8271635"
    verdict = graded(host, row(["1\n", "2\n", "3\n"], ["1", secret, "3"]), fenced("print(input())"))
    assert verdict.details["reason"] == "test 2 of 3: wrong"
    assert (verdict.details["passed"], verdict.details["sandbox"], verdict.details["sandbox_strong"]) == (
        1,
        "bubblewrap",
        True,
    )
    assert secret not in repr(verdict)


def test_strict_runs_fifty_tests_and_published_all_of_them(host: Host) -> None:
    task = row([f"{n}\n" for n in range(60)], [f"{n}\n" for n in range(60)])
    verdict = graded(host, task, fenced("n = int(input())\nprint(n if n < 55 else 0)"))
    assert verdict.gradings == {"strict": 1.0, "published": 0.0}
    assert verdict.details["tests"] == 50


def test_a_sleeper_costs_its_limit_and_no_more(host: Host) -> None:
    task = row(["1\n"], ["1\n"], time_limit_s=0.2)
    verdict = asyncio.run(_strict_only(host, task, fenced("import time\ntime.sleep(10**6)")))
    assert verdict.details["marks"] == {"time": 1}


async def _strict_only(host: Host, task: dict[str, Any], output: str) -> Verdict:
    from gym_core.environment import Session
    from gym_core.reply import read_reply

    resolved = await host.resolve(task)
    verdict = host.environment.verify(resolved, Session(session_id="", task=resolved), read_reply(text_output(output)))
    assert isinstance(verdict, Verdict)
    return verdict


def test_a_checker_that_fails_is_a_fault_and_not_a_verdict(host: Host) -> None:
    task = row(["1\n"], ["1\n"], checker="def check(input, output, expected):\n    return 1 // 0\n")
    with pytest.raises(EnvironmentFault, match="checker failed"):
        graded(host, task, fenced("print(1)"))


def test_deep_and_huge_answers_to_calls_are_wrong_and_harmless(host: Host) -> None:
    task = row(["1"], ["[1]"], "f")
    deep = "def f(n):\n    import os\n    os.write(3, b'[' * 200000)\n    os._exit(0)"
    huge = "def f(n):\n    return 10 ** 40000"
    for code in (deep, huge):
        assert graded(host, task, fenced(code)).reward == 0.0


def test_the_oracle_earns_everything_on_a_sample_of_every_level(host: Host) -> None:
    environment = host.environment
    for level in environment.levels:
        for task in make_tasks(environment, seed=5, level=level, count=4):
            verdict = graded(host, task, str(environment.oracle(task)))
            assert verdict.gradings == {"strict": 1.0, "published": 1.0}, (task.hidden, verdict)


@pytest.mark.slow
def test_the_oracle_earns_everything_on_a_thousand_tasks(host: Host) -> None:
    environment = host.environment
    for level in environment.levels:
        for task in make_tasks(environment, seed=6, level=level, count=167):
            verdict = graded(host, task, str(environment.oracle(task)))
            assert verdict.reward == 1.0, (task.hidden, verdict)
