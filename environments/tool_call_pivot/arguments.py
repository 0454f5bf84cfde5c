"""Arguments of calls as JSON text: read as the public server does, or refused where two readers could differ."""

from __future__ import annotations

import json
import math
from typing import Any

MAX_CHARS = 100_000
UNREADABLE = object()
"""What arguments that cannot be read are read as: equal to nothing that is expected."""


def read_loose(text: str) -> Any:
    """As `json.loads` takes it: the last of equal keys counts, NaN is a number, any value will do."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # of numbers and nesting without end the public server breaks: no reward
        return UNREADABLE


def read_strict(text: str) -> Any:
    """An object of finite numbers in which no key comes twice."""
    if len(text) > MAX_CHARS:
        return UNREADABLE
    try:
        value = _STRICT.decode(text)
    except (ValueError, RecursionError):
        return UNREADABLE
    return value if isinstance(value, dict) else UNREADABLE


def read_expected(text: str) -> Any:
    """The expert's: an object of finite numbers; of equal keys the last, as for the public server."""
    try:
        value = _FINITE.decode(text)
    except (ValueError, RecursionError):
        return UNREADABLE
    return value if isinstance(value, dict) else UNREADABLE


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("a key twice")
    return dict(pairs)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number without end")
    return value


_FINITE = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite)
_STRICT = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_once)
