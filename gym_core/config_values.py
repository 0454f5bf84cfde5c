"""Makes a setting fit its type, and says in plain words what would have fitted."""

from __future__ import annotations

import enum
import re
from pathlib import PurePath
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from gym_core.errors import misfit

_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "array": "a list",
    "object": "a table",
    "null": "nothing",
}


class Misfit(Exception):
    """A value of the wrong type: what was expected, where inside the value, and which values there are."""

    def __init__(self, expected: str, path: str = "", hint: str = "") -> None:
        super().__init__(expected)
        self.expected = expected
        self.path = path
        self.hint = hint


def fit(value: Any, kind: Any, text: bool) -> Any:
    """`value` as `kind`; with `text` it was written as text and is read as a number, list, table … Raises `Misfit`."""
    try:
        return msgspec.convert(value, kind, strict=not text, dec_hook=_path)
    except msgspec.ValidationError as error:
        for other in _readings(value) if text else ():
            try:
                return msgspec.convert(other, kind, strict=False, dec_hook=_path)
            except msgspec.ValidationError:
                continue
        raise _misfit(error, kind) from None


def _readings(text: str) -> list[Any]:
    """What a text may also mean: JSON, `name=value,…`, `a,b`."""
    if text.lstrip()[:1] in ("[", "{"):
        try:
            return [msgspec.json.decode(text)]
        except msgspec.DecodeError:
            return []
    parts = [part.strip() for part in text.split(",") if part.strip()]
    pairs = [part.partition("=") for part in parts]
    if parts and all(sign for _, sign, _ in pairs):
        return [{name.strip(): value.strip() for name, _, value in pairs}, parts]
    return [parts] if parts else [[], {}]


def _path(kind: type, value: Any) -> Any:
    if issubclass(kind, PurePath) and isinstance(value, str):
        return kind(value)
    raise NotImplementedError(f"settings of type {kind.__name__} are not known")


def _misfit(error: msgspec.ValidationError, kind: Any) -> Misfit:
    message, path = misfit(error)
    allowed = _choices(kind)
    if allowed:
        return Misfit(f"one of {', '.join(allowed)}", path)
    expected = re.match(r"Expected `(.+?)`(.*?)(, got .*)?$", message)
    if expected is None:
        return Misfit(f"something else: {message}", path)
    words = " or ".join(_WORDS.get(name.strip(), name.strip()) for name in expected[1].split("|"))
    return Misfit(words + expected[2], path)


def _choices(kind: Any) -> list[str]:
    """The values of a Literal or an Enum, also inside Annotated or beside None."""
    origin = get_origin(kind)
    if origin is Literal:
        return [str(choice) for choice in get_args(kind)]
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return [str(member.value) for member in kind]
    if origin is Annotated:
        return _choices(get_args(kind)[0])
    if origin in (Union, UnionType):
        return [choice for part in get_args(kind) for choice in _choices(part)]
    return []
