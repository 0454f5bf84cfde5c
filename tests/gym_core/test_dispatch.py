"""Tools that only a row declares: `answer` stands behind them, and behind nothing else."""

import pytest

from gym_core.contracts import Task
from gym_core.dispatch import call_tool
from gym_core.environment import Environment, Session, ToolFault, tool
from gym_core.errors import EnvironmentFault


class Market(Environment):
    """A stall whose goods are written on the row."""

    name = "market"

    @tool
    def weigh(self, apples: int) -> int:
        """Grams."""
        return 150 * apples

    def answers(self, task):
        return task.get("stall") is not None

    async def answer(self, session, name, arguments):
        if name == "haggle":
            raise ToolFault("no")
        if name == "break":
            raise LookupError("a bug")
        if name == "ask_elsewhere":
            raise EnvironmentFault("nobody there")
        return f"{name} {arguments} at {session.task['stall']}"


class Plain(Environment):
    """One that has no `answer`."""

    name = "plain"


def session(*names, **fields):
    tools = [{"type": "function", "name": name} for name in names]
    row = {"responses_create_params": {"input": "Apples?", "tools": tools}, **fields}
    return Session("s", Task.from_row(row, "market"))


async def called(name, arguments, opened, environment=None):
    answer = await call_tool(environment or Market(), opened, name, arguments)
    return answer.kind, answer.text


async def test_a_declared_tool_without_a_method_is_answered_and_recorded():
    opened = session("buy", stall="3")
    assert await called("buy", b'{"pears": 2}', opened) == ("ok", "buy {'pears': 2} at 3")
    (record,) = opened.calls
    assert (record.name, record.arguments, record.ok) == ("buy", {"pears": 2}, True)
    assert await called("buy", b"", opened) == ("ok", "buy {} at 3")


async def test_a_method_of_the_same_name_is_not_called_then():
    assert await called("weigh", b'{"apples": 2}', session("weigh", stall="3")) == ("ok", "weigh {'apples': 2} at 3")
    assert await called("weigh", b'{"apples": 2}', session("weigh")) == ("ok", "300")


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("sell", b"{}", "no tool is called 'sell'"),
        ("verify", b"{}", "no tool is called 'verify'"),
        ("buy", b"[]", "no JSON object"),
        ("buy", b"{", "no JSON object"),
        ("haggle", b"{}", "no"),
    ],
)
async def test_what_it_does_not_answer_is_a_fault_that_the_policy_reads(name, arguments, said):
    opened = session("buy", "haggle", "verify", stall="3")
    kind, text = await called(name, arguments, opened)
    assert kind == "fault" and said in text
    assert not opened.calls[0].ok


async def test_an_error_of_ours_passes_and_other_tasks_keep_their_tools():
    with pytest.raises(EnvironmentFault):
        await called("ask_elsewhere", b"{}", session("ask_elsewhere", stall="3"))
    assert (await called("buy", b"{}", session("buy")))[0] == "fault"
    assert (await called("buy", b"{}", session("buy", stall="3"), Plain()))[0] == "fault"


UNREADABLE = (b'{"a":' * 5000, b"[" * 5000, b'{"apples": "\xff"}', '{"apples": "\ud800"}', b"NaN")


@pytest.mark.parametrize("arguments", UNREADABLE, ids=range(len(UNREADABLE)))
@pytest.mark.parametrize("stall", [None, "3"])
@pytest.mark.parametrize("name", ["weigh", "nobody"])
async def test_arguments_that_are_no_json_are_the_policys_fault_and_not_ours(name, stall, arguments):
    opened = session("weigh", stall=stall)
    assert (await called(name, arguments, opened))[0] == "fault"
    assert opened.calls[0].arguments == {}


async def test_an_answer_that_breaks_is_recorded_with_what_was_asked():
    opened = session("break", stall="3")
    assert await called("break", b'{"a": 1}', opened) == (
        "exception", "error: the tool break failed (LookupError)"
    )  # fmt: skip
    (record,) = opened.calls
    assert (record.arguments, record.ok) == ({"a": 1}, False)
