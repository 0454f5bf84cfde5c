"""Rate and rank two responses, paid by the distance to the true judgement."""

from __future__ import annotations

import math
import random
from typing import Any, ClassVar

from environments.genrm_training import generator, rows
from environments.genrm_training.reward import LOWEST, reward
from gym_core.environment import Environment, Reply, Session, Task, Verdict
from gym_core.judge.genrm import Comparison, read_published, read_strict


class GenrmTraining(Environment):
    """Rate two responses 1–5 and rank them 1–6; 0 for the true judgement, less the distance to it, -10 without the
    form, -13 for silence."""

    name = "genrm_training"
    version = "1.0.0"
    levels: ClassVar[range] = generator.LEVELS
    reward_range: ClassVar[tuple[float, float]] = (LOWEST, 0.0)
    published_range: ClassVar[tuple[float, float] | None] = (-math.inf, 0.0)
    max_steps = 1

    def make(self, rng: random.Random, level: int) -> dict[str, Any]:
        return generator.make(rng, level)

    def reshape(self, row: dict[str, Any]) -> dict[str, Any]:
        return rows.reshape(row)

    def ingest(self, task: Task) -> Task:
        return rows.ingest(task)

    def verify(self, task: Task, session: Session, reply: Reply) -> Verdict:
        truth = rows.truth_of(task)
        if reply.empty:
            return Verdict(reward=LOWEST, details={"reason": "empty"})
        return _verdict(read_strict(reply.text, scores=truth.score_1 is not None), truth)

    def verify_published(self, task: Task, session: Session, reply: Reply) -> Verdict:
        return _verdict(read_published(reply.text), rows.truth_of(task))

    def oracle(self, task: Task) -> str:
        return generator.oracle(rows.truth_of(task))


def _verdict(said: Comparison | None, truth: Comparison) -> Verdict:
    worth, terms = reward(said, truth)
    if said is None or "ranking" not in terms:
        return Verdict(reward=worth, components=terms, details={"reason": "not the form that was asked for"})
    details = {"said": [said.score_1, said.score_2, said.ranking]}
    return Verdict(reward=worth, components=terms, details=details)
