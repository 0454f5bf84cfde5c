"""Tool calls played on a desk without a service: for the books as they must end, and for states on the way there."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from environments.banking.desk import Desk
from environments.banking.tools.cards import Cards
from environments.banking.tools.looking import Looking
from environments.banking.tools.moving import Moving
from environments.banking.tools.serving import Serving
from gym_core.environment import Call, Session, Task


class _Tools(Looking, Moving, Cards, Serving):
    """All tools, without an environment around them."""


class _State:
    """What the tools see of a session's state."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk


@cache
def _nobody() -> Task:
    return Task(environment="banking", task_id="replay", responses_create_params={"input": "-"})


def play(desk: Desk, calls: Iterable[Call]) -> list[str]:
    """Call the tools one after another; what they answer. Raises the `ToolFault` of the first that says no."""
    session = Session(session_id="replay", task=_nobody(), state=_State(desk))
    tools = _Tools()
    said = []
    for one in calls:
        method: Any = getattr(tools, one.name)
        said.append(str(method(session=session, **one.arguments)))
    return said
