"""Multiple-choice science: computed facts and documents; one letter is right."""

from __future__ import annotations

import random
from typing import Any, ClassVar

from gym_core.environment import Environment, Reply, Session, Task, Verdict


class StemQa(Environment):
    """Choose the right option; 1.0 when exactly its letter is given, in the form that is asked for, else 0.0."""

    name = "stem_qa"
    version = "1.0.0"
    levels: ClassVar[range] = range(6)
    max_steps = 1
    worker = True

    def warm(self) -> None:
        import environments.stem_qa.generator
        import environments.stem_qa.strict  # noqa: F401

    def make(self, rng: random.Random, level: int) -> dict[str, Any]:
        from environments.stem_qa.generator import make

        return make(rng, level)

    def ingest(self, task: Task) -> Task:
        from environments.stem_qa.rows import ingest

        return ingest(task)

    def verify(self, task: Task, session: Session, reply: Reply) -> Verdict:
        from environments.stem_qa.rows import question
        from environments.stem_qa.strict import grade_strict

        reward, reason, letter = grade_strict(question(task), reply.text)
        details = {"reason": reason, "extracted_answer": letter or None}
        if letter and task.get("models"):
            details["error_model"] = task["models"].get(letter)
        return Verdict(reward=reward, details=details)

    def verify_published(self, task: Task, session: Session, reply: Reply) -> Verdict:
        from environments.stem_qa.published import grade_published
        from environments.stem_qa.rows import question

        reward, reason = grade_published(question(task), reply.raw_text)
        return Verdict(reward=reward, details={"reason": reason})

    def oracle(self, task: Task) -> str:
        r"""The letter in the form of the task; for rows from outside a box, or `Answer: …` where the mode wants it."""
        if task.get("reply") is not None and task.ref is not None:
            return str(task["reply"])
        letter = str(task["expected_answer"]).strip().upper()
        colon = str(task.get("grading_mode") or "").startswith("lenient_answer_colon")
        return f"Answer: {letter}" if colon else f"\\boxed{{{letter}}}"
