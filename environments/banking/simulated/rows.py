"""Published rows of the kind `conversational_tool_use_simulation`: a policy, tools without code, and who calls why.

{"policy": text, "customer_scenario": {"customer_persona", "reason_for_contact", "customer_details", "unknown_info",
 "task_instructions", "outside_policy_scope"}, "responses_create_params": {"input": [system], "tools": [...]}}
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gym_core.contracts import Task
from gym_core.errors import BadRow
from gym_core.tools import RESERVED_NAMES

TOLD = ("customer_persona", "reason_for_contact", "customer_details", "unknown_info", "task_instructions")
HAND_OVER = "transfer_to_human"
"""How the names of tools begin that end a conversation by handing it over."""


@dataclass(slots=True, frozen=True)
class Scenario:
    """Who calls and why; `outside`: the policy cannot settle it, so that it has to be handed over; None: not known.
    `before` is what the row says was said and done already."""

    policy: str
    lines: tuple[str, ...]
    tools: dict[str, dict[str, Any]]
    outside: bool | None
    before: tuple[tuple[str, str], ...] = ()

    def told(self) -> str:
        return "\n".join(self.lines)


def read_row(task: Task) -> Scenario:
    """The scenario of a row. Raises `BadRow` naming the field."""
    given = task.get("customer_scenario")
    if not isinstance(given, dict):
        raise BadRow(
            "banking makes its own tasks; a row from outside is a simulation with a `customer_scenario`",
            field="customer_scenario",
            hint="ask /tasks for rows",
        )
    for name in TOLD:
        if given.get(name) is not None and not isinstance(given[name], str):
            raise BadRow(f"`{name}` must be text", field=f"customer_scenario.{name}")
    if not (given.get("reason_for_contact") or "").strip():
        raise BadRow("a customer has a reason to call", field="customer_scenario.reason_for_contact")
    outside = given.get("outside_policy_scope")
    if outside is not None and not isinstance(outside, bool):
        raise BadRow("`outside_policy_scope` is true, false or null", field="customer_scenario.outside_policy_scope")
    lines = tuple(f"{name.replace('_', ' ')}: {given[name]}" for name in TOLD if given.get(name))
    return Scenario(_policy(task), lines, _tools(task), outside, tuple(_before(task)))


def _policy(task: Task) -> str:
    policy = task.get("policy")
    if policy is None:
        policy = "\n".join(str(item.get("content", "")) for item in task.messages if item.get("role") == "system")
    if not isinstance(policy, str) or not policy.strip():
        raise BadRow("`policy` is the text that the agent is judged by", field="policy")
    return policy


def _before(task: Task) -> Iterator[tuple[str, str]]:
    for item in task.messages:
        if item.get("type") == "function_call":
            yield "CALL", f"{item.get('name')} {item.get('arguments')}"
        elif item.get("type") == "function_call_output":
            yield "RESULT", str(item.get("output"))
        elif item.get("role") in ("user", "assistant"):
            yield "CUSTOMER" if item["role"] == "user" else "AGENT", _text(item.get("content"))


def _text(content: Any) -> str:
    parts = content if isinstance(content, list) else [{"text": content}]
    return "".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))


def _tools(task: Task) -> dict[str, dict[str, Any]]:
    where = "responses_create_params.tools"
    tools: dict[str, dict[str, Any]] = {}
    for number, tool in enumerate(task.tools):
        name = tool.get("name") if isinstance(tool, dict) else None
        if not isinstance(name, str) or name in RESERVED_NAMES or name in tools:
            raise BadRow(f"a tool may not be called {str(name)[:60]!r}, or not twice", field=f"{where}[{number}].name")
        tools[name] = tool
    if not tools:
        raise BadRow("a simulation declares its tools", field=where)
    return tools
