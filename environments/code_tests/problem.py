"""A problem as the grader sees it: tests, limits, and how an output is judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from gym_core.sandbox.run import Limits

MAX_TESTS = 50
"""Tests that strict grading runs; the published server runs all that a row has."""

ROW_LIMITS = Limits(cpu_s=10.0, memory_mb=2048, output_bytes=64 << 20)


@dataclass(frozen=True, slots=True)
class Case:
    """One test: what the program reads, what it should print (or, in call mode, return: JSON)."""

    input: str
    output: str


@dataclass(frozen=True, slots=True)
class Problem:
    """Tests in order. `fn_name` asks for calls instead of a program; `check(input, output, reference)` is a checker of
    ours, `checker` the Python source of one that came with the row and runs in the sandbox too."""

    cases: list[Case]
    limits: Limits = field(default=ROW_LIMITS)
    language: str = "python"
    fn_name: str | None = None
    check: Callable[[str, str, str], bool] | None = None
    checker: str | None = None
