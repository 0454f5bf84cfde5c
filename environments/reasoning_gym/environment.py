"""Reasoning gym: a hundred generators of puzzles with algorithmic answers, graded so that only the right one pays."""

from __future__ import annotations

import random
from typing import Any

from environments.reasoning_gym.answers import MAX_LENGTH, published_answer, strict_answer
from environments.reasoning_gym.catalogue import NUM_LEVELS, names_at
from environments.reasoning_gym.pinned import GRADE_S, MAKE_S, Overran, Raised, pinned
from environments.reasoning_gym.rows import ingest
from gym_core.environment import Environment, Reply, Session, Task, Verdict

MAX_ATTEMPTS = 16
ASK = "Give the final answer between <answer> and </answer>."


class ReasoningGym(Environment):
    """Solve the puzzle; 1.0 for a right answer and nothing beside it, 0.0 otherwise."""

    name = "reasoning_gym"
    version = "1.0.0"
    levels = range(NUM_LEVELS)
    max_steps = 1
    worker = True
    verify_timeout_s = 45.0

    def warm(self) -> None:
        pinned().start()

    def make(self, rng: random.Random, level: int) -> dict[str, Any]:
        for _ in range(MAX_ATTEMPTS):
            source = {"name": rng.choice(names_at(level)), "level": level, "index": rng.randrange(2**31)}
            try:
                item = pinned().ask("item", source, limit_s=MAKE_S)
            except Raised:  # some generators fail on some seeds, always the same ones
                continue
            prompt = item["question"] if level == 0 else f"{item['question'].rstrip()}\n\n{ASK}"
            public = {"source_dataset": source["name"]}
            return {"prompt": prompt, "public": public, "source": source, "gold": item["answer"]}
        raise RuntimeError(f"{MAX_ATTEMPTS} generators in a row failed at level {level}")

    def ingest(self, task: Task) -> Task:
        return ingest(task)

    def verify(self, task: Task, session: Session, reply: Reply) -> Verdict:
        answer = None if reply.empty else strict_answer(reply.text)
        details: dict[str, Any] = {"source_dataset": task["source"]["name"], "extracted_answer": answer}
        if answer is None:
            return Verdict(reward=0.0, details=details)
        try:
            right = pinned().ask("strict", task["source"], answer, limit_s=GRADE_S)
        except (Overran, Raised) as error:  # what a grader chokes on is no right answer
            return Verdict(reward=0.0, details={**details, "grader": str(error)})
        return Verdict(reward=float(right), details=details)

    def verify_published(self, task: Task, session: Session, reply: Reply) -> Verdict:
        answer = published_answer(reply.raw_text)
        if len(answer) > MAX_LENGTH:
            return Verdict(reward=0.0, details={"grader": f"an answer longer than {MAX_LENGTH} characters"})
        try:
            score = pinned().ask("published", task["source"], answer, limit_s=GRADE_S)
        except (Overran, Raised) as error:  # the public server gives 0.0 for a grader that raises
            return Verdict(reward=0.0, details={"grader": str(error)})
        return Verdict(reward=min(1.0, max(0.0, score)), details={"extracted_answer": answer})

    def oracle(self, task: Task) -> str:
        gold = task["gold"]
        if task.ref is not None and task.ref.level == 0:
            return str(gold)
        return f"<answer>{gold}</answer>"
