"""From a reply to a reward: 1.0 for a program that passes every test, else 0.0; strictly, and as published."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from environments.code_tests.comparison import (
    same_output,
    same_output_published,
    same_value,
    same_value_published,
)
from environments.code_tests.extraction import extract_code
from environments.code_tests.inside import (
    call_program,
    checker_program,
    published_call_program,
    published_stdin_program,
)
from environments.code_tests.problem import Case, Problem
from gym_core.contracts import Verdict
from gym_core.environment import Reply
from gym_core.errors import EnvironmentFault
from gym_core.sandbox.battery import Mark, Report, Suite, run_tests
from gym_core.sandbox.provider import Sandbox
from gym_core.sandbox.run import Ended, Limits, Program, Run, python_program

TOTAL_WALL_S = 100.0
"""All tests of one grading together; the public server allows 11 s for each test."""

PUBLISHED_WALL_S = 10.0
PUBLISHED_MEMORY_MB = 4096
MAX_CODE = 1 << 20
_CHECKER_LIMITS = Limits(cpu_s=10.0, memory_mb=1024, output_bytes=1 << 16)

Right = Callable[[Case, bytes], bool]


def grade_strict(sandbox: Sandbox, problem: Problem, text: str) -> Verdict:
    """The reward of a reply without thinking. Raises `SandboxFault`, `NoCompiler`: never a reward for our failures."""
    code = extract_code(text)
    if not code.strip():
        return _nothing("no program between two lines with ```")
    if len(code) > MAX_CODE:
        return _nothing("a program of more than a million characters")
    source = call_program(code, problem.fn_name) if problem.fn_name else code
    program = python_program(source) if problem.language == "python" else sandbox.compile(source, problem.language)
    if isinstance(program, Run):
        return _nothing("it does not compile", stderr=_tail(program), sandbox=sandbox.name)
    return _verdict(_run(sandbox, program, problem, _strict_right(sandbox, problem), problem.limits))


def grade_published(sandbox: Sandbox, problem: Problem, reply: Reply) -> Verdict:
    """The public server's reward (code_gen, NVIDIA-NeMo/Gym @ 07d6b0d0), run in the sandbox all the same."""
    code = extract_code(reply.raw_text)
    if not reply.raw_text.strip() or not code:
        return _nothing("no program between two lines with ```")
    if breaks_format(reply):
        return _nothing("think tags in the answer")
    wall_s = min(PUBLISHED_WALL_S, problem.limits.wall_time_s)
    limits = replace(problem.limits, wall_s=wall_s, cpu_s=PUBLISHED_WALL_S, memory_mb=PUBLISHED_MEMORY_MB)
    if problem.language != "python":
        program = sandbox.compile(code, problem.language)
        if isinstance(program, Run):
            return _nothing("it does not compile", stderr=_tail(program), sandbox=sandbox.name)
    elif problem.fn_name:
        program = python_program(published_call_program(code, problem.fn_name))
    else:
        program = python_program(published_stdin_program(code))
    right = _by_value(same_value_published) if problem.fn_name else _by_text(same_output_published)
    return _verdict(_run(sandbox, program, problem, right, limits))


def breaks_format(reply: Reply) -> bool:
    """Think tags in the answer, or more than one pair in the reasoning: the public server's format penalty, 0.0."""
    if "<think>" in reply.raw_text or "</think>" in reply.raw_text:
        return True
    parts = [part for item in reply.items if item.get("type") == "reasoning" for part in item.get("summary") or []]
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    reasoning = "".join(text for text in texts if isinstance(text, str))
    return reasoning.count("<think>") > 1 or reasoning.count("</think>") > 1


def _run(sandbox: Sandbox, program: Program, problem: Problem, right: Right, limits: Limits) -> Report:
    suite = Suite(problem.cases, lambda case: case.input.encode(errors="replace"), right)
    return run_tests(sandbox, program, suite, limits, total_wall_s=TOTAL_WALL_S)


def _strict_right(sandbox: Sandbox, problem: Problem) -> Right:
    if problem.checker is not None:
        return _by_checker(sandbox, problem.checker)
    if problem.check is not None:
        check = problem.check
        return lambda case, output: check(case.input, output.decode(errors="replace"), case.output)
    return _by_value(same_value) if problem.fn_name else _by_text(same_output)


def _by_text(same: Callable[[str, str], bool]) -> Right:
    return lambda case, output: same(case.output, output.decode(errors="replace"))


def _by_value(same: Callable[[Any, Any], bool]) -> Right:
    """Compare decoded JSON; what is not one JSON document is wrong."""

    def right(case: Case, output: bytes) -> bool:
        try:
            return same(json.loads(case.output), json.loads(output))
        except (ValueError, RecursionError):
            return False

    return right


def _by_checker(sandbox: Sandbox, checker: str) -> Right:
    """Ask a checker that came with the row, in a run of its own. One that fails is a fault of the row, no verdict."""
    program = python_program(checker_program(checker))

    def right(case: Case, output: bytes) -> bool:
        asked = {"input": case.input, "output": output.decode(errors="replace"), "expected": case.output}
        run = sandbox.run(program, json.dumps(asked).encode(), _CHECKER_LIMITS)
        if run.ended is not Ended.OK or run.stdout not in (b"true", b"false"):
            raise EnvironmentFault(f"the row's checker failed ({run.ended.value}): {_tail(run)}", stage="verify")
        return run.stdout == b"true"

    return right


def _verdict(report: Report) -> Verdict:
    reward = float(report.passed)
    passed = sum(mark is Mark.PASS for mark in report.marks)
    details: dict[str, Any] = {
        "tests": report.total,
        "passed": passed,
        "marks": dict(Counter(mark.value for mark in report.marks)),
        "sandbox": report.sandbox,
        "cpu_s": round(report.cpu_s, 4),
    }
    if not report.passed:
        details["reason"] = f"test {len(report.marks)} of {report.total}: {report.marks[-1].value}"
        if report.last is not None and report.last.stderr:
            details["stderr"] = _tail(report.last)
    return Verdict(reward=reward, components={"tests": passed / report.total}, details=details)


def _nothing(reason: str, **details: str) -> Verdict:
    return Verdict(reward=0.0, components={"tests": 0.0}, details={"reason": reason, **details})


def _tail(run: Run) -> str:
    return run.stderr.decode(errors="replace")[-500:]
