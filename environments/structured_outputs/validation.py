"""Validation by jsonschema-rs: no network, patterns that cannot explode, values that JSON does not have.

YAML and TOML give dates and other objects that no JSON type fits, and the public verifier accepts NaN and Infinity.
`accepts` answers for these as the public validator does, by standing values in for them.
"""

from __future__ import annotations

import math
from typing import Any

import jsonschema_rs

MAX_NODES = 100_000
MAX_DEPTH = 400
BACKTRACK_LIMIT = 10_000

_BOUNDS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})
_NO_TYPE: tuple[Any, ...] = (None, True, 0.1234567, "\ue000", [], {})
"""What fits no type is valid only where every one of these is."""

_NOT_A_NUMBER = 0.1234567
_HUGE = 1.7e308


class BadSchema(ValueError):
    """A schema that cannot be used."""


class Unreadable(ValueError):
    """A value too large, too deep or too strange to be validated."""


def compile_schema(schema: Any, *, formats: bool) -> jsonschema_rs.Draft202012Validator:
    """A validator that fetches nothing. Linear-time patterns; a pattern that needs backtracking gets a small budget.

    Raises `BadSchema` for what is no schema, for a remote `$ref` and for a pattern that cannot be compiled.
    """
    try:
        return _compile(schema, formats, jsonschema_rs.RegexOptions())
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        first = error
    try:
        return _compile(schema, formats, jsonschema_rs.FancyRegexOptions(backtrack_limit=BACKTRACK_LIMIT))
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError):
        raise BadSchema(brief(first)) from None


def _compile(schema: Any, formats: bool, patterns: Any) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(
        schema, validate_formats=formats, ignore_unknown_formats=True, offline=True, pattern_options=patterns
    )


def brief(error: Exception) -> str:
    """First line of an error, short."""
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0][:200]


def complaint(validator: jsonschema_rs.Draft202012Validator, value: Any) -> str:
    """Why a plain JSON value does not fit, or an empty string. Raises `Unreadable` for NaN, dates, cycles."""
    copied = _Copy(value)
    if copied.odd:
        raise Unreadable("a value that JSON does not have (NaN, Infinity, a date, a key that is no text)")
    try:
        validator.validate(copied.value)
    except jsonschema_rs.ValidationError as error:
        return brief(error)
    except ValueError as error:
        raise Unreadable(brief(error)) from None
    return ""


def accepts(validator: jsonschema_rs.Draft202012Validator, value: Any) -> bool:
    """The public validator's word on any Python value. Raises `Unreadable` where it would raise or never end."""
    plain = _Copy(value)
    try:
        if not plain.odd:
            return validator.is_valid(plain.value)
        fills = _NO_TYPE if plain.opaque else (None,)
        infinities = (_NOT_A_NUMBER, _HUGE) if plain.infinite else (_NOT_A_NUMBER,)
        return all(_fits(validator, _Copy(value, fill, huge)) for fill in fills for huge in infinities)
    except ValueError as error:
        raise Unreadable(brief(error)) from None


def _fits(validator: jsonschema_rs.Draft202012Validator, copied: _Copy) -> bool:
    """No error but those of bounds at places where a number stands in for NaN, which every bound lets through."""
    for error in validator.iter_errors(copied.value):
        where = tuple(error.instance_path)
        if where not in copied.loose or error.schema_path[-1] not in _BOUNDS:
            return False
    return True


class _Copy:
    """A JSON copy of a Python value, with stand-ins. `loose` are the paths of numbers that no bound applies to."""

    def __init__(self, value: Any, fill: Any = None, infinity: float = _NOT_A_NUMBER) -> None:
        self.fill = fill
        self.infinity = infinity
        self.nodes = 0
        self.opaque = self.infinite = self.not_a_number = self.renamed = False
        self.loose: set[tuple[str | int, ...]] = set()
        try:
            self.value = self._copy(value, ())
        except RecursionError:
            raise Unreadable("nested too deeply") from None

    @property
    def odd(self) -> bool:
        return self.opaque or self.infinite or self.not_a_number or self.renamed

    def _copy(self, value: Any, path: tuple[str | int, ...]) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise Unreadable(f"more than {MAX_NODES} values")
        if len(path) > MAX_DEPTH:
            raise Unreadable(f"nested deeper than {MAX_DEPTH}")
        if isinstance(value, dict):
            return {self._key(key): self._copy(inner, (*path, self._key(key))) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._copy(inner, (*path, index)) for index, inner in enumerate(value)]
        if isinstance(value, float) and not math.isfinite(value):
            return self._odd_number(value, path)
        if value is None or isinstance(value, bool | int | float | str):
            return value
        self.opaque = True
        return self.fill

    def _key(self, key: Any) -> str:
        """Keys that are no text become one that no schema names."""
        if isinstance(key, str):
            return key
        self.renamed = True
        return f"\ue000{type(key).__name__} {key!r}"

    def _odd_number(self, value: float, path: tuple[str | int, ...]) -> float:
        if math.isnan(value):
            self.not_a_number = True
            self.loose.add(path)
            return _NOT_A_NUMBER
        self.infinite = True
        if self.infinity == _NOT_A_NUMBER:
            self.loose.add(path)
            return _NOT_A_NUMBER
        return math.copysign(self.infinity, value)
