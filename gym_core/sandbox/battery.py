"""A program against many inputs: one mark for each test, in order, until the first that does not pass.

What a test expects stays here, in the parent; the program gets its input and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Generic, TypeVar

from gym_core.sandbox.provider import Sandbox
from gym_core.sandbox.run import Ended, Limits, Program, Run


class Mark(StrEnum):
    """What one test says of a program."""

    PASS = "pass"
    WRONG = "wrong"
    TIME = "time"
    MEMORY = "memory"
    CRASH = "crash"
    FLOOD = "flood"


@dataclass(slots=True)
class Report:
    """The marks so far; `total` tests there are. `sandbox` names the one that was used."""

    sandbox: str
    total: int
    marks: list[Mark] = field(default_factory=list)
    cpu_s: float = 0.0
    wall_s: float = 0.0
    last: Run | None = None

    @property
    def passed(self) -> bool:
        """Every test was run and passed; never true of no tests at all."""
        return 0 < self.total == len(self.marks) and all(mark is Mark.PASS for mark in self.marks)


Test = TypeVar("Test")


@dataclass(slots=True, frozen=True)
class Suite(Generic[Test]):
    """Tests, the input that each one gives to the program, and what is right of its output."""

    tests: list[Test]
    stdin: Callable[[Test], bytes]
    right: Callable[[Test, bytes], bool]


def run_tests(
    sandbox: Sandbox,
    program: Program,
    suite: Suite[Test],
    limits: Limits,
    *,
    total_wall_s: float = 60.0,
    every: bool = False,
) -> Report:
    """Run the tests; stop after the first that fails (unless `every`), and when `total_wall_s` is spent (`time`)."""
    report = Report(sandbox.name, len(suite.tests))
    for test in suite.tests:
        left = total_wall_s - report.wall_s
        if left <= 0:
            report.marks.append(Mark.TIME)
            break
        run = sandbox.run(program, suite.stdin(test), replace(limits, wall_s=min(limits.wall_time_s, left)))
        report.last = run
        report.cpu_s += run.cpu_s
        report.wall_s += run.wall_s
        if run.ended is not Ended.OK:
            report.marks.append(Mark(run.ended.value))
        else:
            report.marks.append(Mark.PASS if suite.right(test, run.stdout) else Mark.WRONG)
        if report.marks[-1] is not Mark.PASS and not every:
            break
    return report


def pairs(tests: Iterable[tuple[bytes, bytes]], right: Callable[[bytes, bytes], bool]) -> Suite[tuple[bytes, bytes]]:
    """A suite of (input, expected output) whose outputs are compared by `right(expected, output)`."""
    return Suite(list(tests), lambda test: test[0], lambda test, output: right(test[1], output))
