"""A session copies no world: many times what it costs (`bench/verify.py` measures that), and far less than a copy."""

from __future__ import annotations

import time
from collections.abc import Callable

from environments.workplace.environment import Workplace
from gym_core.contracts import TaskRef
from gym_core.environment import Session
from gym_core.generate import make_task
from gym_core.reply import Reply, ToolCall


def best_s(work: Callable[[], object], times: int = 60) -> float:
    spent = []
    for _ in range(times):
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    return min(spent)


def test_a_session_is_seeded_and_verified_without_a_copy_of_the_world() -> None:
    environment = Workplace()
    task = make_task(environment, TaskRef(seed=1, level=4, index=0, split="train"))
    environment.setup(task).close()  # the world is built once
    assert best_s(lambda: environment.setup(task).close()) < 1e-2
    session = Session("s", task, environment.setup(task))
    reply = Reply("Done.", tool_calls=tuple(ToolCall(name, text) for name, text in task["truth"]))
    assert best_s(lambda: environment.verify(task, session, reply)) < 2e-2
    assert best_s(lambda: environment.verify_published(task, session, reply)) < 2e-2
    environment.close(session)
