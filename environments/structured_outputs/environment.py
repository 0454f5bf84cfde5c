"""Structured outputs: answer in the format and the shape that a JSON Schema asks for."""

from __future__ import annotations

import random
from typing import Any

from gym_core.environment import Environment, Reply, Session, Task, Verdict


class StructuredOutputs(Environment):
    """Answer with a document that fits the schema; 1.0 when it does, 0.0 otherwise. Contents are logged, not paid."""

    name = "structured_outputs"
    version = "1.0.0"
    levels = range(6)
    max_steps = 1

    def make(self, rng: random.Random, level: int) -> dict[str, Any]:
        from environments.structured_outputs.generator import make

        return make(rng, level)

    def ingest(self, task: Task) -> Task:
        from environments.structured_outputs.rows import ingest

        return ingest(task)

    def verify(self, task: Task, session: Session, reply: Reply) -> Verdict:
        from environments.structured_outputs.grading import grade_strict, semantic
        from environments.structured_outputs.rows import wanted_of

        graded = grade_strict(wanted_of(task), reply)
        details: dict[str, Any] = {"error_type": graded.error, "error_message": graded.message}
        if task.get("truth") is not None:
            details["semantic"] = semantic(task["truth"], graded.value)
        return Verdict(reward=graded.reward, components={"schema": graded.reward}, details=details)

    def verify_published(self, task: Task, session: Session, reply: Reply) -> Verdict:
        from environments.structured_outputs.grading import grade_published
        from environments.structured_outputs.rows import wanted_of

        graded = grade_published(wanted_of(task), reply)
        return Verdict(reward=graded.reward, details={"error_type": graded.error, "error_message": graded.message})

    def oracle(self, task: Task) -> str:
        if task.get("sample") is None:
            raise NotImplementedError("a row from outside brings no answer: the oracle knows generated tasks only")
        return str(task["sample"])
