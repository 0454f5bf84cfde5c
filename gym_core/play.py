"""Play a script (the oracle's, or any) against an environment object in this process, its tools included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from gym_core.contracts import Task, Verdict
from gym_core.dialogue import exchange_items, user_turn
from gym_core.dispatch import call_tool
from gym_core.environment import Call, Environment, GroupEntry, Script, Session
from gym_core.errors import Conflict
from gym_core.host import Host, settle
from gym_core.reply import read_reply, text_output
from gym_core.seeds import rng
from gym_core.tools import USER_TURN

Items = list[dict[str, Any]]


async def play_script(
    environment: Environment, task: Task, script: str | Script | None = None, *, verify: bool = True
) -> tuple[Items, Verdict | None]:
    """The Responses `output` items of a script and its verdict; without a script the oracle's is played.

    The verdict is None where `verify` is False. A tool that says no does not end the script: its words become the
    call's output, as for a policy. Raises whatever the environment's own methods raise.
    """
    if script is None:
        script = await settle(environment.oracle(task))
    if isinstance(script, str):
        script = Script(reply=script)
    state = await settle(environment.setup(task)) if environment.keeps_sessions() else None
    session = Session(session_id="play", task=task, state=state, rng=rng("session", 0, task.task_id, 0))
    try:
        items: Items = []
        for number, call in enumerate(script.calls):
            arguments = msgspec.json.encode(call.arguments).decode()
            answer = await _step(environment, session, call, arguments)
            items += call_items(f"call_{number}", call.name, arguments, answer)
        items += text_output(script.reply)
        return items, await _verdict(environment, task, session, items) if verify else None
    finally:
        close: Callable[[Session], Any] = environment.close
        await settle(close(session))


async def _step(environment: Environment, session: Session, call: Call, arguments: str) -> str:
    """What a step of a script is answered. Words to a user who has left stay without an answer."""
    if call.name != USER_TURN or not environment.talks():
        return (await call_tool(environment, session, call.name, arguments)).text
    try:
        said = await user_turn(environment, session, text_output(str(call.arguments.get("reply", ""))))
    except Conflict:
        return ""
    return msgspec.json.encode(said).decode()


def call_items(call_id: str, name: str, arguments: str, output: str) -> Items:
    """A step of a script and what it was answered, as the agent server records them: a function call and its output,
    or words to the user and the user's."""
    if name == USER_TURN:
        return exchange_items(arguments, output)
    call = {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments, "status": "completed"}
    return [call, {"type": "function_call_output", "call_id": call_id, "output": output}]


async def _verdict(environment: Environment, task: Task, session: Session, items: Items) -> Verdict:
    host = Host(environment)
    if host.judges_groups:
        return (await host.grade_group([GroupEntry("play", task, read_reply(items))]))[0]
    return await host.grade(task, session, items)
