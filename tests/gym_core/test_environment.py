"""What the base class gives an author, and what it asks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from gym_core.contracts import Task
from gym_core.environment import Environment, Session
from gym_core.loading import load_file
from gym_core.reply import Reply
from gym_core.seeds import rng

samples = load_file(Path(__file__).with_name("samples.py"))
TASK = Task(environment="e", task_id="t", responses_create_params={"input": "q"})


class Bare(Environment):
    """Nothing but a name."""

    name = "bare"


def test_sessions_are_kept_where_there_are_tools_or_a_setup() -> None:
    class Prepared(Bare):
        def setup(self, task: Task) -> int:
            return 1

    assert not Bare.keeps_sessions()
    assert Prepared.keeps_sessions()
    assert samples.Counter.keeps_sessions()
    assert not samples.Sums.keeps_sessions()


def test_optional_methods_are_recognised_by_being_written() -> None:
    assert samples.Sums.overrides("verify_published")
    assert not samples.Counter.overrides("verify_published")
    assert samples.Longest.overrides("verify_group")
    assert not Bare.overrides("verify_group")


def test_tool_specs_are_each_class_own() -> None:
    assert Bare.tool_specs() == {}
    assert Bare.tool_specs() is Bare.tool_specs()
    assert list(samples.Counter.tool_specs()) == ["add", "slow", "read", "broken", "away", "unlisted"]


def test_the_base_class_names_what_is_missing() -> None:
    bare = Bare()
    session = Session("s", TASK)
    with pytest.raises(NotImplementedError, match="Bare generates no tasks"):
        bare.make(rng(1), 0)
    with pytest.raises(NotImplementedError, match="Bare needs `verify`"):
        bare.verify(TASK, session, Reply("x"))
    with pytest.raises(NotImplementedError, match="Bare has no oracle"):
        bare.oracle(TASK)
    assert bare.ingest(TASK) is TASK
    assert bare.setup(TASK) is None


def test_sessions_share_nothing() -> None:
    one, two = Session("a", TASK), Session("b", TASK)
    one.calls.append(samples.Call("x"))
    assert two.calls == []
    assert one.rng is not two.rng
