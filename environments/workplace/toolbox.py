"""All tools by their published names: how they are declared, and the one way in which they are called.

A declared tool takes typed arguments, but a call is not checked against the types before it runs: the published tools
answer odd values themselves, in words that the policy learns to read. Null arguments count as left out.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from types import MappingProxyType
from typing import Any, Final

import msgspec

from environments.workplace.desk import Desk
from environments.workplace.tools import analytics, calendar, customers, directory, email, projects
from gym_core.tools import ToolSpec, tool_spec

Function = Callable[..., Any]

_MODULES = (
    ("company_directory", directory, ("find_email_address",)),
    (
        "email",
        email,
        ("get_email_information_by_id", "search_emails", "send_email", "delete_email", "forward_email", "reply_email"),
    ),
    (
        "calendar",
        calendar,
        ("get_event_information_by_id", "search_events", "create_event", "delete_event", "update_event"),
    ),
    (
        "analytics",
        analytics,
        (
            "get_visitor_information_by_id",
            "create_plot",
            "total_visits_count",
            "engaged_users_count",
            "traffic_source_count",
            "get_average_session_duration",
        ),
    ),
    (
        "project_management",
        projects,
        ("get_task_information_by_id", "search_tasks", "create_task", "delete_task", "update_task"),
    ),
    (
        "customer_relationship_manager",
        customers,
        ("search_customers", "update_customer", "add_customer", "delete_customer"),
    ),
)

TOOLS: Final = MappingProxyType(
    {f"{prefix}_{name}": getattr(module, name) for prefix, module, names in _MODULES for name in names}
)
"""The 27 functions by published name."""

READ_ONLY: Final = frozenset(
    name for name, function in TOOLS.items() if getattr(function, "__palaestra_tool__", "") == "read_only"
)
NOTHING: Final = frozenset({"No emails found.", "No events found.", "No customers found."})
_CAUGHT = (TypeError, ValueError, AttributeError, ZeroDivisionError, OverflowError, RecursionError)
"""What a tool raises over odd arguments. Anything else is a fault of ours and stays one."""


@cache
def specs() -> dict[str, ToolSpec]:
    """The declarations, each with a record that takes any value for its arguments."""
    return {name: _lenient(tool_spec(name, function)) for name, function in TOOLS.items()}


def _lenient(spec: ToolSpec) -> ToolSpec:
    fields: list[Any] = [(name, Any, None) for name in spec.arguments.__struct_fields__]
    record = msgspec.defstruct(f"{spec.name}_call", fields, kw_only=True, forbid_unknown_fields=True)
    return replace(spec, arguments=record, parameters=_plain(spec.parameters), takes_session=True)


def _plain(parameters: dict[str, Any]) -> dict[str, Any]:
    """The schema as published: one type for each argument, no defaults."""
    properties = {}
    for name, schema in parameters["properties"].items():
        kind = schema.get("type") or next(one["type"] for one in schema["anyOf"] if one["type"] != "null")
        properties[name] = {"type": kind, "description": schema["description"]}
    return {**parameters, "properties": properties}


def run(desk: Desk, name: str, arguments: dict[str, Any], *, keep_nulls: bool = False) -> Any:
    """What the tool of that name returns: JSON for the policy. Raises KeyError for a name that is none of the tools.

    The public server drops null arguments of a live call; its verifier, which replays them, does not (`keep_nulls`).
    """
    function = TOOLS[name]
    given = {key: value for key, value in arguments.items() if keep_nulls or value is not None}
    try:
        for missing in _required(name) - given.keys():
            given[missing] = None
        result = function(desk, **given)
    except _CAUGHT as error:
        return f"Error executing tool '{name}': {error}"
    if name in READ_ONLY and looked_up(result):
        desk.lookups += 1
    return result


def looked_up(result: Any) -> bool:
    """False for the texts in which a read-only tool says what was wrong; that a search found nothing is an answer."""
    return not isinstance(result, str) or result in NOTHING


@cache
def _required(name: str) -> frozenset[str]:
    parameters = list(inspect.signature(TOOLS[name]).parameters.values())[1:]
    return frozenset(parameter.name for parameter in parameters if parameter.default is inspect.Parameter.empty)
