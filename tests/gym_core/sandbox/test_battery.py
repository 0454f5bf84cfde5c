"""Programs against several tests: marks in order, the first failure stops, totals are bounded."""

from __future__ import annotations

from collections.abc import Callable

from gym_core.sandbox.battery import Mark, Report, pairs, run_tests
from gym_core.sandbox.provider import Sandbox
from gym_core.sandbox.run import Ended, Limits, Program, Run, python_program

PROGRAM = python_program("print(input())")


class Scripted(Sandbox):
    """Ends each run as it was told to; keeps what it was given."""

    name = "scripted"

    def __init__(self, *runs: Run) -> None:
        self.runs = list(runs)
        self.given: list[tuple[bytes, Limits]] = []

    def run(self, program: Program, stdin: bytes = b"", limits: Limits | None = None) -> Run:
        assert limits is not None
        self.given.append((stdin, limits))
        return self.runs.pop(0)


def ended(how: Ended, stdout: bytes = b"", wall_s: float = 1.0) -> Run:
    return Run(how, stdout, b"", 0, 0.5, wall_s, 10.0)


def same(expected: bytes, output: bytes) -> bool:
    return expected == output


def marks(*runs: Run, right: Callable[[bytes, bytes], bool] = same, every: bool = False, total: float = 60.0) -> Report:
    suite = pairs([(b"in", b"out")] * 3, right)
    return run_tests(Scripted(*runs), PROGRAM, suite, Limits(), every=every, total_wall_s=total)


def test_all_tests_that_pass_make_a_pass() -> None:
    report = marks(*[ended(Ended.OK, b"out")] * 3)
    assert report.passed and report.marks == [Mark.PASS] * 3
    assert (report.cpu_s, report.wall_s) == (1.5, 3.0)


def test_the_first_failure_stops() -> None:
    report = marks(ended(Ended.OK, b"out"), ended(Ended.OK, b"other"))
    assert report.marks == [Mark.PASS, Mark.WRONG] and not report.passed


def test_every_test_runs_where_that_is_wanted() -> None:
    report = marks(ended(Ended.CRASH), ended(Ended.OK, b"out"), ended(Ended.MEMORY), every=True)
    assert report.marks == [Mark.CRASH, Mark.PASS, Mark.MEMORY] and not report.passed


def test_right_output_of_a_run_that_did_not_end_well_is_no_pass() -> None:
    for how in (Ended.CRASH, Ended.TIME, Ended.MEMORY, Ended.FLOOD):
        assert marks(ended(how, b"out")).marks == [Mark(how.value)]


def test_the_total_time_bounds_each_run_and_ends_the_battery() -> None:
    sandbox = Scripted(ended(Ended.OK, b"out", 4.0), ended(Ended.OK, b"out", 2.0))
    suite = pairs([(b"in", b"out")] * 3, same)
    report = run_tests(sandbox, PROGRAM, suite, Limits(cpu_s=10, wall_s=5), total_wall_s=6.0)
    assert report.marks == [Mark.PASS, Mark.PASS, Mark.TIME]
    assert [limits.wall_time_s for _, limits in sandbox.given] == [5, 2]


def test_no_tests_are_no_pass() -> None:
    assert not run_tests(Scripted(), PROGRAM, pairs([], same), Limits()).passed
