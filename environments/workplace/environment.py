"""Workplace: mail, calendar, analytics, project board, customers; tasks are judged by what the calls changed."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, ClassVar

import msgspec

from environments.workplace.desk import Desk
from environments.workplace.generator import LEVELS, make
from environments.workplace.published import same_state
from environments.workplace.replay import frozen, read_arguments
from environments.workplace.rows import read_row, world_of
from environments.workplace.strict import judge, right_changes
from environments.workplace.toolbox import TOOLS, run, specs
from gym_core.environment import Call, Environment, Reply, Script, Session, Task, Verdict
from gym_core.tools import ToolSpec


class Workplace(Environment):
    """Do what the office asks, and nothing else; 1.0 for exactly the wanted changes and answer, else 0.0."""

    name = "workplace"
    version = "1.0.0"
    levels: ClassVar[range] = LEVELS
    max_steps = 20

    def make(self, rng: random.Random, level: int) -> dict[str, Any]:
        return make(rng, level)

    def ingest(self, task: Task) -> Task:
        """Takes published rows where their data is at hand, and rows with a `company` (README)."""
        return read_row(task)

    def setup(self, task: Task) -> Desk:
        return Desk(world_of(task["world"]))

    def close(self, session: Session) -> None:
        if isinstance(session.state, Desk):
            session.state.close()

    def verify(self, task: Task, session: Session, reply: Reply) -> Verdict:
        live = session.state if isinstance(session.state, Desk) else None
        start = live or self.setup(task)
        truth = frozen(task["truth"])
        try:
            return judge(start, right_changes(world_of(task["world"]), truth), task["answer"], reply)
        finally:
            if live is None:
                start.close()

    def verify_published(self, task: Task, session: Session, reply: Reply) -> float:
        """The public verdict: all calls of the reply replayed, undeclared tools and all; words do not count."""
        calls = [(call.name, call.arguments) for call in reply.tool_calls]
        return float(same_state(world_of(task["world"]), calls, task["truth"]))

    def oracle(self, task: Task) -> Script:
        """The script a task was made with; for rows from outside their ground truth."""
        script = task.get("script")
        if isinstance(script, Script):
            return script
        calls = tuple(Call(name, read_arguments(text) or {}) for name, text in task["truth"])
        if not calls and task["answer"] is None:
            calls = (Call("company_directory_find_email_address", {"name": "a"}),)
        return Script(calls, task["answer"] or "Done.")

    @classmethod
    def tool_specs(cls) -> dict[str, ToolSpec]:
        return specs()


def _method(name: str) -> Callable[..., str]:
    """The tool as a method: the published server wraps what a tool returns in an object with `output`."""

    def call(self: Workplace, session: Session, **arguments: Any) -> str:
        return msgspec.json.encode({"output": run(session.state, name, arguments)}).decode()

    call.__name__ = name
    call.__doc__ = TOOLS[name].__doc__
    return call


for _name in TOOLS:
    setattr(Workplace, _name, _method(_name))
