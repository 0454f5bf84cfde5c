"""Typed tools: a method becomes a function the model may call, its schema taken from type hints and docstring.

    @tool
    def transfer(self, session: Session, source: str, amount: int) -> str:
        \"\"\"Move money between accounts.

        Args:
            source: name of the account that pays
        \"\"\"

A parameter named `session` is injected and stays out of the schema. Arguments are validated before the method runs;
what does not fit becomes a `ToolFault` that the model reads, never a crash of the rollout.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_type_hints

import msgspec

USER_TURN = "user_turn"
"""The route on which the user of a dialogue is asked for the next words."""

RESERVED_NAMES = frozenset(
    {
        USER_TURN,
        "seed_session",
        "verify",
        "verify_group",
        "group_verdict",
        "close_session",
        "aggregate_metrics",
        "reverify_mode",
        "tasks",
        "ingest",
        "healthz",
        "metrics",
        "openapi.json",
        "environments",
        "manifest",
    }
)
"""Routes of the environment service: a tool may not take them, and a model that calls them gets a tool error."""

UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)
"""What comes of JSON that a policy wrote and that is none: broken, not UTF-8, or nested thousands deep."""

SESSION_PARAMETER = "session"
_ARGUMENT_LINE = re.compile(r"^(\s{2,})(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)$")
_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")


class ToolFault(Exception):
    """A tool says no: the model reads the text and may try again. Counted, never an outcome."""


def tool(method: Callable[..., Any] | None = None, *, read_only: bool = False) -> Any:
    """Mark a method of an environment as a tool the policy may call.

    `@tool(read_only=True)` promises that the call changes nothing: the agent sends such calls of one turn together, all
    others one after another as the policy wrote them. The service runs one call of a session at a time.
    """

    def mark(method: Callable[..., Any]) -> Callable[..., Any]:
        method.__palaestra_tool__ = "read_only" if read_only else "writes"  # type: ignore[attr-defined]
        return method

    return mark if method is None else mark(method)


@dataclass(slots=True, frozen=True)
class ToolSpec:
    """A tool as it is declared to the policy and called by the server."""

    name: str
    description: str
    parameters: dict[str, Any]
    arguments: type[msgspec.Struct]
    takes_session: bool
    read_only: bool = False

    def declaration(self) -> dict[str, Any]:
        """The tool in OpenAI Responses form."""
        return {
            "type": "function",
            "name": self.name,
            "description": self.description,
            "parameters": self.parameters,
            "strict": False,
        }

    def parse(self, arguments: str | bytes) -> dict[str, Any]:
        """Arguments as keywords. Raises `ToolFault` naming the argument that does not fit."""
        try:
            parsed = msgspec.json.decode(arguments or b"{}", type=self.arguments)
        except msgspec.ValidationError as error:
            raise ToolFault(f"invalid arguments for {self.name}: {error}") from None
        except UNREADABLE as error:
            raise ToolFault(f"the arguments of {self.name} are not JSON: {error}") from None
        return {name: getattr(parsed, name) for name in self.arguments.__struct_fields__}


def tool_specs(owner: type) -> dict[str, ToolSpec]:
    """All tools of a class, by name, in the order of their definition. Raises ValueError for a reserved name."""
    specs = {}
    for base in reversed(owner.__mro__):
        for name, method in vars(base).items():
            if getattr(method, "__palaestra_tool__", ""):
                specs[name] = tool_spec(name, method)
    return specs


def tool_spec(name: str, method: Callable[..., Any]) -> ToolSpec:
    """Schema of one method. Raises ValueError where a type hint is missing or a name is reserved."""
    if name in RESERVED_NAMES or not _NAME.match(name):
        raise ValueError(f"a tool may not be called {name!r}: that name is a route of the service or not an identifier")
    described, about = _docstring(method)
    arguments, takes_session = _arguments(name, method)
    try:
        (_,), definitions = msgspec.json.schema_components([arguments])
    except TypeError as error:
        raise ValueError(f"a parameter of tool {name!r} has a type that JSON cannot carry: {error}") from None
    schema = dict(definitions[arguments.__name__])
    properties = schema.get("properties", {})
    for parameter_name, text in about.items():
        if parameter_name in properties:
            properties[parameter_name] = {**properties[parameter_name], "description": text}
    parameters: dict[str, Any] = {"type": "object", "properties": properties}
    parameters["required"] = schema.get("required", [])
    parameters["additionalProperties"] = False
    others = {key: value for key, value in definitions.items() if key != arguments.__name__}
    if others:
        parameters["$defs"] = others
    read_only = getattr(method, "__palaestra_tool__", "") == "read_only"
    return ToolSpec(name, described, parameters, arguments, takes_session, read_only)


def _arguments(name: str, method: Callable[..., Any]) -> tuple[type[msgspec.Struct], bool]:
    """The parameters as a record that validates them, and whether the method wants its session."""
    try:
        hints = get_type_hints(method, include_extras=True)
    except NameError as error:
        raise ValueError(f"a type hint of tool {name!r} cannot be read: {error}; import it at run time") from None
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    takes_session = False
    for parameter in list(inspect.signature(method).parameters.values())[1:]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            stars = "*" if parameter.kind is parameter.VAR_POSITIONAL else "**"
            raise ValueError(f"tool {name!r} takes {stars}{parameter.name}: write its parameters out for the model")
        if parameter.name == SESSION_PARAMETER:
            takes_session = True
        elif parameter.name not in hints:
            raise ValueError(f"parameter {parameter.name!r} of tool {name!r} needs a type hint")
        elif parameter.default is inspect.Parameter.empty:
            fields.append((parameter.name, hints[parameter.name]))
        else:
            fields.append((parameter.name, hints[parameter.name], parameter.default))
    try:
        record = msgspec.defstruct(f"{name}_arguments", fields, kw_only=True, forbid_unknown_fields=True)
    except TypeError as error:
        raise ValueError(f"the parameters of tool {name!r} cannot be declared: {error}") from None
    return record, takes_session


def _docstring(method: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """First paragraph, and the lines under `Args:` by parameter name; a deeper line goes on with the one above it."""
    text = inspect.getdoc(method) or ""
    head, _, tail = text.partition("Args:")
    about: dict[str, str] = {}
    last, depth = "", 0
    for line in tail.splitlines():
        found = _ARGUMENT_LINE.match(line)
        if last and line.strip() and len(line) - len(line.lstrip()) > depth:
            about[last] = f"{about[last]} {line.strip()}".strip()
        elif found:
            last, depth = found[2], len(found[1])
            about[last] = found[3].strip()
        elif line.strip() and not line.startswith(" "):
            break
    return " ".join(head.split("\n\n")[0].split()), about
