"""Long-context questions: joins over many documents, needles in long texts, and published rows that a judge decides."""

from __future__ import annotations

import random
from typing import Any, ClassVar

from environments.long_context_qa.levels import open_levels
from environments.long_context_qa.settings import settings
from gym_core.environment import Environment, Reply, Session, Task, Verdict
from gym_core.judge.judge import Judge


class LongContextQa(Environment):
    """Answer from what the documents say; 1.0 for exactly the answer, given once, 0.0 otherwise."""

    name = "long_context_qa"
    version = "1.0.0"
    levels: ClassVar[range] = open_levels(settings().max_tokens)
    max_steps = 1
    worker = True

    def warm(self) -> None:
        from environments.long_context_qa.tokens import counter

        counter(settings().tokenizer)

    def make(self, rng: random.Random, level: int) -> dict[str, Any]:
        from environments.long_context_qa.generator import make
        from environments.long_context_qa.tokens import counter

        return make(rng, level, counter(settings().tokenizer))

    def ingest(self, task: Task) -> Task:
        from environments.long_context_qa.rows import ingest

        return ingest(task)

    def verify(self, task: Task, session: Session, reply: Reply) -> Verdict:
        from environments.long_context_qa.verdicts import strict

        return strict(task, reply)

    def verify_published(self, task: Task, session: Session, reply: Reply) -> Verdict:
        from environments.long_context_qa.verdicts import published

        return published(task, reply)

    async def judge(
        self, task: Task, session: Session, reply: Reply, verdict: Verdict, judge: Judge
    ) -> float | Verdict:
        """What the exact checks left open: phrasing on generated tasks, the public protocols on published rows."""
        from environments.long_context_qa.judging import ruled

        return await ruled(task, reply, verdict, judge)

    def oracle(self, task: Task) -> str:
        """The answer in the form that the row asks for."""
        from environments.long_context_qa.verdicts import oracle

        return oracle(task)
