"""What is wrong with a recipe, told by the path of its key: msgspec's words, made whole.

msgspec: "`lr` must be positive, not 0.0 - at `$.grpo`"        field grpo.lr
msgspec: "Invalid enum value 'dull' - at `$.arm`"              hint  there are: grpo, sft, shuffled
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

import msgspec

from gym_core.errors import BadRequest
from gym_core.nearest import hint

_ANY = "environments[...]"
_NAMED = re.compile(r"`([\w.]+)`")


def refusal(error: msgspec.ValidationError, kind: type[msgspec.Struct], data: Mapping[str, Any]) -> BadRequest:
    """The error of converting `data` to `kind`, with the path of the key and, for a choice, what there is."""
    text, _, where = str(error).partition(" - at `$")
    where = where.strip("`.")
    if where.startswith(_ANY):
        where = f"environments.{_first_wrong(kind, data)}{where.removeprefix(_ANY)}"
    path = [part for part in where.split(".") if part]
    named = ([*path, *name.split(".")] for name in _NAMED.findall(text))
    if _is_struct(_type_at(kind, path)):
        path = next((longer for longer in named if _type_at(kind, longer) is not None), path)
    found = _type_at(kind, path)
    choices = get_args(found) if get_origin(found) is Literal else ()
    given = re.search(r"'(.*)'", text)
    way_out = hint(given[1], choices) if choices and given else ", ".join(map(str, choices))
    return BadRequest(text, field=".".join(path), hint=way_out)


def _first_wrong(kind: type[msgspec.Struct], data: Mapping[str, Any]) -> str:
    """The environment that cannot be read."""
    mix = _type_at(kind, ["environments", ""])
    for name, value in data["environments"].items():
        try:
            msgspec.convert(value, mix)
        except msgspec.ValidationError:
            return str(name)
    return ""


def _type_at(kind: Any, path: list[str]) -> Any:
    """The type of a field by its path; what a table of tables holds, for any name in it."""
    for part in path:
        if get_origin(kind) is dict:
            kind = get_args(kind)[1]
            continue
        fields = {field.name: field.type for field in msgspec.structs.fields(kind)} if _is_struct(kind) else {}
        kind = fields.get(part.partition("[")[0])
    return kind


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)
