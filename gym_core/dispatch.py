"""One tool call on a session: declared tools only, arguments checked first, every ending is text for the model."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import msgspec

from gym_core.environment import CallRecord, Environment, Session
from gym_core.errors import PalaestraError
from gym_core.host import settle
from gym_core.tools import RESERVED_NAMES, UNREADABLE, ToolFault, ToolSpec

log = logging.getLogger("palaestra.tools")

STATUS = {"ok": 200, "fault": 422, "exception": 500}
"""HTTP status of each kind of answer."""


@dataclass(slots=True, frozen=True)
class ToolAnswer:
    """What the model reads, and how the call ended: `ok`, `fault` (the tool says no), `exception` (it broke)."""

    kind: str
    text: str


def declared(environment: Environment, session: Session, name: str) -> ToolSpec | None:
    """The tool of that name if this session's task may use it: a row that lists tools allows only those."""
    listed = session.task.responses_create_params.get("tools")
    if name in RESERVED_NAMES or (listed is not None and not _listed(session, name)):
        return None
    return environment.tool_specs().get(name)


def _listed(session: Session, name: str) -> bool:
    listed = session.task.responses_create_params.get("tools") or []
    return any(isinstance(item, dict) and item.get("name") == name for item in listed)


def _arguments_of(session: Session, name: str, arguments: str | bytes) -> dict[str, Any]:
    """Those of a tool that `answer` stands for. Raises `ToolFault` for tools that are not the row's, and bad ones."""
    if name in RESERVED_NAMES or not _listed(session, name):
        raise ToolFault(f"error: no tool is called {name!r} here")
    try:
        given: dict[str, Any] = msgspec.json.decode(arguments or b"{}", type=dict[str, Any])
    except UNREADABLE as error:
        raise ToolFault(f"the arguments of {name} are no JSON object: {error}") from None
    return given


async def call_tool(environment: Environment, session: Session, name: str, arguments: str | bytes) -> ToolAnswer:
    """Run the call and record it in the session. A `PalaestraError` of the tool passes: that is no answer to a model.

    The caller holds the session's lock.
    """
    given: dict[str, Any] = {}
    try:
        if environment.overrides("answer") and environment.answers(session.task):
            given = _arguments_of(session, name, arguments)
            value = await settle(environment.answer(session, name, given))
        else:
            spec = declared(environment, session, name)
            if spec is None:
                raise ToolFault(f"error: no tool is called {name!r} here")
            given = spec.parse(arguments)
            method = getattr(environment, spec.name)
            value = await settle(method(session=session, **given) if spec.takes_session else method(**given))
        answer = ToolAnswer("ok", _text(value))
    except ToolFault as fault:
        given = given or _object(arguments)
        answer = ToolAnswer("fault", str(fault))
    except PalaestraError:
        raise
    except Exception as error:
        log.exception("tool %s of %s failed", name, environment.name)
        answer = ToolAnswer("exception", f"error: the tool {name} failed ({type(error).__name__})")
    session.calls.append(CallRecord(name, given, answer.text, answer.kind == "ok"))
    return answer


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _object(arguments: str | bytes) -> dict[str, Any]:
    """Arguments that did not fit, as far as they are an object; for the record only."""
    try:
        found = msgspec.json.decode(arguments)
    except UNREADABLE:
        return {}
    return found if isinstance(found, dict) else {}
