"""Code: write a program that passes every test of a problem, in a sandbox; 1.0 when it does, 0.0 otherwise."""

from __future__ import annotations

import random
import weakref
from typing import TYPE_CHECKING, Any

from gym_core.environment import Environment, Reply, Session, Task, Verdict

if TYPE_CHECKING:
    from environments.code_tests.problem import Problem
    from gym_core.sandbox.provider import Sandbox


class Code(Environment):
    """Solve the problem with a program; 1.0 when it passes every test, 0.0 otherwise."""

    name = "code"
    version = "1.0.0"
    levels = range(6)
    max_steps = 1
    worker = True
    verify_timeout_s = 240.0

    def __init__(self) -> None:
        self._sandbox: Sandbox | None = None

    def warm(self) -> None:
        """Open the sandbox. Where that fails tasks are still served, and each verdict says why there is none."""
        from gym_core.sandbox.faults import SandboxUnavailable

        try:
            self.sandbox()
        except SandboxUnavailable:
            return  # logged where it was tried; `verify` tries again and raises

    def sandbox(self) -> Sandbox:
        """The sandbox of this process, open. Raises `SandboxUnavailable` where none is strong enough."""
        if self._sandbox is None:
            from gym_core.sandbox.choose import open_sandbox

            self._sandbox = open_sandbox()
            weakref.finalize(self, self._sandbox.close)
        return self._sandbox

    def make(self, rng: random.Random, level: int) -> dict[str, Any]:
        from environments.code_tests.generator import make

        return make(rng, level)

    def ingest(self, task: Task) -> Task:
        from environments.code_tests.rows import ingest

        return ingest(task)

    def verify(self, task: Task, session: Session, reply: Reply) -> Verdict:
        from environments.code_tests.grading import grade_strict

        verdict = grade_strict(self.sandbox(), _problem(task), reply.text)
        verdict.details["sandbox_strong"] = self.sandbox().strong
        return verdict

    def verify_published(self, task: Task, session: Session, reply: Reply) -> Verdict:
        from environments.code_tests.grading import grade_published

        return grade_published(self.sandbox(), _problem(task, whole=True), reply)

    def oracle(self, task: Task) -> str:
        from environments.code_tests.families import FAMILIES

        if task.get("family") is None:
            raise NotImplementedError("a row from outside brings no program: the oracle knows generated tasks only")
        family = FAMILIES[task["family"]]
        program = family.short(task["params"]) if family.short else family.program(task["params"])
        return f"```python\n{program}```"


def _problem(task: Task, *, whole: bool = False) -> Problem:
    """The tests of a task: made again from its seed, or those that its row brings."""
    from environments.code_tests import generator, rows

    if task.ref is not None:
        return generator.problem_of(task["family"], task["params"], task["tests_seed"], task["sized"])
    return rows.problem_of_row(task, whole=whole)
