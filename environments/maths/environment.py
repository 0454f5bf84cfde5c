r"""Mathematics: one problem, one final answer in `\boxed{…}`, 1.0 when it is the right one, 0.0 otherwise."""

from __future__ import annotations

import random
from typing import Any

from gym_core.environment import Environment, Grading, Reply, Session, Task, Verdict
from gym_core.judge.judge import Judge
from gym_core.judge.protocols import EQUIVALENCE, EQUIVALENCE_PUBLISHED
from gym_core.reply import message_text

OPEN = "open_answer"
"""Detail of a verdict that a judge may still turn: the answer as it was extracted, empty where none was."""


class Math(Environment):
    r"""Solve the problem; 1.0 when the last `\boxed{…}` of the reply holds exactly the answer, 0.0 otherwise."""

    name = "math"
    version = "1.0.0"
    levels = range(8)
    max_steps = 1
    worker = True

    def warm(self) -> None:
        """A second or two, which no rollout should wait for: sympy, and the tables that its parsers build at first."""
        import math_verify  # noqa: F401  before anything has a deadline

        from environments.maths.grading import grade_strict

        grade_strict(r"\frac{x+1}{2}", r"\boxed{\frac{1+x}{2}}")

    def make(self, rng: random.Random, level: int) -> dict[str, Any]:
        from environments.maths.generator import make

        return make(rng, level)

    def reshape(self, row: dict[str, Any]) -> dict[str, Any]:
        from environments.maths.blends import reshape

        return reshape(row)

    def ingest(self, task: Task) -> Task:
        from environments.maths.rows import ingest

        return ingest(task)

    def verify(self, task: Task, session: Session, reply: Reply) -> Verdict:
        from environments.maths.boxed import last_boxed
        from environments.maths.grading import grade_strict, open_to_judge

        generated = task.ref is not None
        reward, reason = grade_strict(str(task["expected_answer"]), reply.text, plain_only=generated)
        details = {"reason": reason}
        if open_to_judge(reward, reason) and not generated:
            details[OPEN] = last_boxed(reply.text) or ""
        return Verdict(reward=reward, details=details)

    def verify_published(self, task: Task, session: Session, reply: Reply) -> Verdict:
        from environments.maths.grading import grade_published

        reward, reason, extracted = grade_published(str(task["expected_answer"]), reply.raw_text)
        details = {"reason": reason}
        if reward <= 0.5 and task.ref is None:
            details[OPEN] = extracted or ""
        return Verdict(reward=reward, details=details)

    async def judge(
        self, task: Task, session: Session, reply: Reply, verdict: Verdict, judge: Judge
    ) -> float | Verdict:
        """Are the answers equal, where the library saw none? As `math_with_judge`: both orders must say so."""
        answer = verdict.details.pop(OPEN, None)
        if answer is None:
            return verdict
        published = verdict.grading is Grading.PUBLISHED
        if published and not answer:
            answer = reply.raw_text
        ruling = await judge.ask(
            EQUIVALENCE_PUBLISHED if published else EQUIVALENCE,
            question=_question(task),
            first=str(task["expected_answer"]),
            second=answer,
        )
        return float(ruling.value)

    def oracle(self, task: Task) -> str:
        from environments.maths.grading import strip_delimiters

        return "\\boxed{" + strip_delimiters(str(task["expected_answer"])) + "}"


def _question(task: Task) -> str:
    """The problem, as a judge should see it: the row's `question`, else what the policy was asked."""
    question = task.get("question")
    if isinstance(question, str) and question.strip():
        return question
    return "\n\n".join(message_text(item) for item in task.messages if item.get("role") == "user")
