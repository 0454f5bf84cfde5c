"""One step of a tool-using agent: the history is given, the next action is compared with the expert's."""

from __future__ import annotations

import random
from typing import Any, ClassVar

from environments.tool_call_pivot import generator, published, rows
from environments.tool_call_pivot.actions import Message, calls_of, published_action
from environments.tool_call_pivot.arguments import read_expected
from environments.tool_call_pivot.judging import UNDECIDED, judged
from environments.tool_call_pivot.messages import check_facts, check_likeness
from environments.tool_call_pivot.strict import check_calls
from gym_core.environment import Call, Environment, Reply, Script, Session, Task, Verdict
from gym_core.judge.judge import Judge


class ToolCallPivot(Environment):
    """Do what comes next: the right calls with the right arguments and no words, or words with the right facts and no
    call; 1.0 for that, 0.0 otherwise."""

    name = "tool_call_pivot"
    version = "1.0.0"
    levels: ClassVar[range] = generator.LEVELS
    max_steps = 1

    def make(self, rng: random.Random, level: int) -> dict[str, Any]:
        return generator.make(rng, level)

    def ingest(self, task: Task) -> Task:
        return rows.ingest(task)

    def verify(self, task: Task, session: Session, reply: Reply) -> Verdict:
        why, certain = _check(task, reply)
        details: dict[str, Any] = {"reason": why} if why else {}
        if not certain:
            details[UNDECIDED] = True
        return Verdict(reward=float(not why), details=details)

    def verify_published(self, task: Task, session: Session, reply: Reply) -> Verdict:
        comparator = published.comparator_of(task.get("agent_ref"))
        reward, why = published.reward(rows.expected_of(task), published_action(reply.items), comparator)
        return Verdict(reward=reward, details={"reason": why})

    async def judge(
        self, task: Task, session: Session, reply: Reply, verdict: Verdict, judge: Judge
    ) -> float | Verdict:
        return await judged(task, reply, verdict, judge)

    def oracle(self, task: Task) -> str | Script:
        """The expert's action."""
        expected = rows.expected_of(task)
        if isinstance(expected, Message):
            return expected.content
        return Script(tuple(Call(call.name, read_expected(call.arguments)) for call in expected.calls))


def _check(task: Task, reply: Reply) -> tuple[str, bool]:
    """Why the reply is not the expert's action, or "", and whether that is certain."""
    expected = rows.expected_of(task)
    calls = calls_of(reply.items)
    if not isinstance(expected, Message):
        exact = task.ref is not None
        declared = rows.declared_names(task)
        return check_calls(expected.calls, calls, text=reply.all_text, declared=declared, exact=exact), True
    if calls:
        return "a call where a message was expected", True
    facts = rows.facts(task)
    if facts is not None:
        return check_facts(reply.text, facts), True
    return check_likeness(reply.text, expected.content, rows.told(task))
