"""The user's side of a dialogue: what the policy said goes in, the user's next words come out, once for each turn.

    policy's words ─▶ Environment.user(task, session, reply) ─▶ a message, or None: the user has left

The exchange is kept in `session.turns`. An exchange that is asked for twice under one key is told again, not played
again; the same words under another key are another turn.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gym_core.contracts import UserMessage
from gym_core.environment import Environment, Session, UserTurn
from gym_core.errors import Conflict, EnvironmentFault
from gym_core.host import settle
from gym_core.reply import read_reply, text_output

Items = list[dict[str, Any]]


async def user_turn(environment: Environment, session: Session, output: Items, key: str = "") -> UserMessage:
    """The user's answer to the policy's `output` items of this turn. The caller holds the session's lock.

    Raises `Conflict` once the user has left, `EnvironmentFault` for an answer that is no text, and whatever the
    author's `user` raises; then the turn has not happened.
    """
    if key:
        for number, turn in enumerate(session.turns):
            if turn.key == key:
                return _told(turn, number)
    if session.turns and session.turns[-1].message is None:
        raise Conflict("the user has left, the dialogue is over", hint="ask for the verdict")
    reply = read_reply(output)
    message = None
    if len(session.turns) + 1 < environment.max_turns:
        message = await settle(environment.user(session.task, session, reply))
    if message is not None and not isinstance(message, str):
        raise EnvironmentFault(f"`user` must return text or None, not {type(message).__name__}", stage="user")
    session.turns.append(UserTurn(reply, message, key))
    return _told(session.turns[-1], len(session.turns) - 1)


def _told(turn: UserTurn, number: int) -> UserMessage:
    return UserMessage(message=turn.message, turn=number + 1)


def user_item(message: str) -> dict[str, Any]:
    """The user's words as a Responses item, as the agent server records them."""
    return {"type": "message", "role": "user", "content": message}


def exchange_items(arguments: str, answer: str) -> Items:
    """A script's words to the user and what came back, as the agent server records them.

    `arguments` and `answer` are the JSON bodies of `/user_turn` and of its reply; an answer that is none (a refusal)
    adds nothing to what was said.
    """
    said = msgspec.json.decode(arguments)
    words = said.get("reply", "") if isinstance(said, dict) else ""
    try:
        message = msgspec.json.decode(answer, type=UserMessage).message
    except msgspec.DecodeError:
        message = None
    return text_output(str(words)) + ([] if message is None else [user_item(message)])
