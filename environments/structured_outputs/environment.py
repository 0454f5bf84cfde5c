"""Structured outputs: answer in the format and the shape that a JSON Schema asks for."""

from __future__ import annotations

import json
import random
from typing import Any

from gym_core.environment import Call, Environment, Reply, Script, Session, Task, Verdict


class StructuredOutputs(Environment):
    """Answer with a document that fits the schema; 1.0 when it does, 0.0 otherwise. Contents are logged, not paid."""

    name = "structured_outputs"
    version = "1.0.0"
    levels = range(6)
    max_steps = 1
    worker = True

    def warm(self) -> None:
        import xmltodict  # noqa: F401
        import yaml  # noqa: F401

        import environments.structured_outputs.grading  # noqa: F401

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
        components = {"schema": graded.reward}
        if task.get("truth") is not None:
            components["semantic"] = semantic(task["truth"], graded.value)
        return Verdict(reward=graded.reward, components=components, details=details)

    def verify_published(self, task: Task, session: Session, reply: Reply) -> Verdict:
        from environments.structured_outputs.grading import grade_published
        from environments.structured_outputs.rows import wanted_of

        graded = grade_published(wanted_of(task), reply)
        return Verdict(reward=graded.reward, details={"error_type": graded.error, "error_message": graded.message})

    def oracle(self, task: Task) -> str | Script:
        if task.get("sample") is None:
            raise NotImplementedError("a row from outside brings no answer: the oracle knows generated tasks only")
        if task.get("response_mode") == "tool_call":
            return Script((Call(task["tool_name"], json.loads(task["sample"])),))
        return str(task["sample"])
