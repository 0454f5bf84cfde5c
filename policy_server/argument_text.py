"""What a tool's argument may be when it is written as plain text: the forms that its JSON Schema leaves.

    schema ─▶ [Literal | Text | Json]…; None where any text will do

`const`, `enum`, `pattern`, `minLength` and `maxLength` are held to, through unions and local `$ref`s; formats are not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model.arguments import dumps, resolve, typed_value

_MAX_DEPTH = 8
_UNIONS = ("anyOf", "oneOf")
_ESCAPED_OR_SLASH = re.compile(r"(\\.)|/", re.DOTALL)
_ATOM = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.", re.DOTALL)


@dataclass(slots=True, frozen=True)
class Literal:
    """This text and no other."""

    text: str


@dataclass(slots=True, frozen=True)
class Text:
    """Text that fits a Lark terminal."""

    terminal: str


@dataclass(slots=True, frozen=True)
class Json:
    """JSON of a schema."""

    schema: Mapping[str, Any]


Form = Literal | Text | Json


def forms(field: Any, root: Mapping[str, Any]) -> list[Form] | None:
    """The forms of an argument of this schema; `root` is the schema of all of them."""
    return _forms(field, root, 0)


def _forms(field: Any, root: Mapping[str, Any], depth: int) -> list[Form] | None:
    if not isinstance(field, Mapping) or depth > _MAX_DEPTH:
        return None
    if isinstance(reference := field.get("$ref"), str):
        target, own = resolve(reference, root), {key: value for key, value in field.items() if key != "$ref"}
        return _forms({**target, **own}, root, depth + 1) if isinstance(target, Mapping) else None
    if "const" in field or isinstance(field.get("enum"), list):
        return _literals(field, root) or None
    branches = _branches(field)
    if branches is not None:
        found = [_forms(branch, root, depth + 1) for branch in branches]
        return [form for one in found for form in one or ()] if all(found) else None
    if field.get("type") == "string":
        terminal = _terminal(field)
        return None if terminal is None else [Text(terminal)]
    return [Json(field)] if isinstance(field.get("type"), str) and "allOf" not in field else None


def _branches(field: Mapping[str, Any]) -> list[Any] | None:
    """The schemas of which one has to fit; None for a schema of one kind."""
    for union in _UNIONS:
        if isinstance(given := field.get(union), list):
            rest = {key: value for key, value in field.items() if key != union}
            return [{**rest, **each} if isinstance(each, Mapping) else each for each in given]
    if isinstance(types := field.get("type"), list):
        return [{**field, "type": each} for each in types]
    return None


def _literals(field: Mapping[str, Any], root: Mapping[str, Any]) -> list[Form]:
    """The values that may stand here, those that the parser reads as themselves."""
    values = [field["const"]] if "const" in field else field["enum"]
    spelled = [(value, value if isinstance(value, str) else dumps(value)) for value in values]
    read = [(value, text, typed_value(text, field, root)) for value, text in spelled]
    return [Literal(text) for value, text, found in read if found == value and type(found) is type(value)]


def _terminal(field: Mapping[str, Any]) -> str | None:
    """What text of `pattern`, `minLength` and `maxLength` is; None without any of them."""
    least, most = field.get("minLength"), field.get("maxLength")
    parts = []
    if isinstance(least, int) or isinstance(most, int):
        parts.append(f"/(?s:.{{{least or 0},{'' if most is None else most}}})/")
    if isinstance(pattern := field.get("pattern"), str) and (whole := _anchored(pattern)) is not None:
        parts.append(f"/{slashes_escaped(whole)}/")
    return " & ".join(parts) or None


def _anchored(pattern: str) -> str | None:
    """A pattern that is searched for, as one that the whole text fits; None where its anchors are not at its ends."""
    atoms = _ATOM.findall(pattern)
    opened, closed = atoms[:1] == ["^"], atoms[-1:] == ["$"]
    inner = atoms[opened : len(atoms) - closed]
    if "^" in inner or "$" in inner or ((opened or closed) and _has_choice(inner)):
        return None
    whole = "".join(map(_in_ascii, inner))
    return f"{'' if opened else '(?s:.*)'}(?:{whole}){'' if closed else '(?s:.*)'}"


def _in_ascii(atom: str) -> str:
    """JSON Schema's digits and letters are ASCII; those of the matcher are Unicode's."""
    if atom.startswith("["):
        return atom.replace(r"\d", "0-9").replace(r"\w", "0-9A-Za-z_")
    return {r"\d": "[0-9]", r"\w": "[0-9A-Za-z_]"}.get(atom, atom)


def _has_choice(atoms: Sequence[str]) -> bool:
    depth = 0
    for atom in atoms:
        depth += (atom == "(") - (atom == ")")
        if atom == "|" and depth == 0:
            return True
    return False


def slashes_escaped(pattern: str) -> str:
    """A regular expression as it stands between slashes in Lark."""
    escaped = _ESCAPED_OR_SLASH.sub(lambda found: found[1] or r"\/", pattern)
    return escaped.replace("\\\n", "\\n").replace("\n", "\\n")
