"""Follow instructions over many turns: exact checks for scripted dialogues, rubric and judge for rows from outside."""

from __future__ import annotations

import random
from typing import Any, ClassVar

from environments.multi_turn_if import generator, rows
from environments.multi_turn_if.criteria import judge_criteria, protocol
from environments.multi_turn_if.items import MAX_CHARS, grade, unpacked
from environments.multi_turn_if.published import last_response
from gym_core.environment import Environment, Grading, Reply, Session, Task, Verdict
from gym_core.judge.judge import Judge
from gym_core.judge.protocols import RUBRIC, RUBRIC_PUBLISHED
from gym_core.judge.rubric import AGGREGATES, judge_rubric


class MultiTurnIf(Environment):
    """Answer the last turn; the share of what the conversation asks for that holds, 0 where the answer is wrong."""

    name = "multi_turn_if"
    version = "1.0.0"
    levels: ClassVar[range] = generator.LEVELS
    max_steps = 1

    def make(self, rng: random.Random, level: int) -> dict[str, Any]:
        return generator.make(rng, level)

    def ingest(self, task: Task) -> Task:
        return rows.ingest(task)

    def judge_decides(self, task: Task) -> bool:
        return task.ref is None

    def verify(self, task: Task, session: Session, reply: Reply) -> Verdict:
        if self.judge_decides(task):
            return Verdict(reward=0.0)  # stands for nothing: `judge_decides`
        items = unpacked(task["items"])
        reward, held = grade(items, reply.text)
        said = [[item.kind, fine] for item, fine in zip(items, held, strict=True)]
        return Verdict(reward=reward, details={"family": task["family"], "items": said})

    def verify_published(self, task: Task, session: Session, reply: Reply) -> Verdict:
        """The public aggregation over the exact checks: their mean, whatever the answer."""
        if self.judge_decides(task):
            return Verdict(reward=0.0)
        text = last_response(reply)[:MAX_CHARS]
        scores = [float(item.holds(text)) for item in unpacked(task["items"])]
        return Verdict(reward=AGGREGATES["mean"](scores, [1.0] * len(scores)))

    async def judge(
        self, task: Task, session: Session, reply: Reply, verdict: Verdict, judge: Judge
    ) -> float | Verdict:
        if not self.judge_decides(task):
            return verdict
        published = verdict.grading is Grading.PUBLISHED
        text = last_response(reply) if published else reply.text
        items, aggregate = rows.rubric_items(task), rows.aggregation(task)
        if rows.is_inverse(task):
            template = str(task.get("judge_prompt_template") or "")
            asked = protocol(template, str(task.get("judge_system_prompt") or ""), published=published)
            about = {
                "prompt": rows.prompt(task),
                "standard_response": str(rows.field(task, "reference_response") or ""),
            }
            score, scores = await judge_criteria(judge, asked, items, aggregate, **about, model_response=text)
        else:
            context, kind = rows.context(task), RUBRIC_PUBLISHED if published else RUBRIC
            score, scores = await judge_rubric(
                judge, items, context=context, response=text, aggregate=aggregate, protocol=kind
            )
        told = [[item.question, worth] for item, worth in zip(items, scores, strict=True)]
        return Verdict(reward=score, details={"aggregation": aggregate, "items": told})

    def oracle(self, task: Task) -> str:
        if task.ref is None:
            raise NotImplementedError("the best answer to a row from outside is not known")
        return str(task["best"])
