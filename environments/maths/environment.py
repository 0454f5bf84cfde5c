r"""Mathematics: one problem, one final answer in `\boxed{…}`, 1.0 when it is the right one, 0.0 otherwise."""

from __future__ import annotations

import random
from typing import Any

from gym_core.environment import Environment, Reply, Session, Task, Verdict


class Math(Environment):
    r"""Solve the problem; 1.0 when the last `\boxed{…}` of the reply holds exactly the answer, 0.0 otherwise."""

    name = "math"
    version = "1.0.0"
    levels = range(7)
    max_steps = 1
    worker = True

    def warm(self) -> None:
        import math_verify  # noqa: F401  takes a second or two, which no rollout should wait for

        import environments.maths.grading  # noqa: F401

    def make(self, rng: random.Random, level: int) -> dict[str, Any]:
        from environments.maths.generator import make

        return make(rng, level)

    def ingest(self, task: Task) -> Task:
        from environments.maths.rows import ingest

        return ingest(task)

    def verify(self, task: Task, session: Session, reply: Reply) -> Verdict:
        from environments.maths.grading import grade_strict

        generated = task.ref is not None
        reward, reason = grade_strict(str(task["expected_answer"]), reply.text, plain_only=generated)
        return Verdict(reward=reward, details={"reason": reason})

    def verify_published(self, task: Task, session: Session, reply: Reply) -> Verdict:
        from environments.maths.grading import grade_published

        reward, reason = grade_published(str(task["expected_answer"]), reply.raw_text)
        return Verdict(reward=reward, details={"reason": reason})

    def oracle(self, task: Task) -> str:
        from environments.maths.grading import strip_delimiters

        return "\\boxed{" + strip_delimiters(str(task["expected_answer"])) + "}"
