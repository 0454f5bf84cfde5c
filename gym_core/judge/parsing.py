"""From a judge's words to a ruling: the protocol says which label counts, and None is "no ruling here".

Thinking has been cut before. Labels are matched exactly; a parser never guesses.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from gym_core.judge.labels import pattern

T = TypeVar("T")
Parser = Callable[[str], T | None]

MAX_TRIES = 500
"""Opening braces that are tried in one reply: each may cost a look at the whole of it."""


def first_label(labels: Mapping[str, T]) -> Parser[T]:
    """The label that comes first wins."""
    return _placed(labels, min)


def last_label(labels: Mapping[str, T]) -> Parser[T]:
    """The label that comes last wins."""
    return _placed(labels, max)


def _placed(labels: Mapping[str, T], choose: Callable[..., tuple[int, str]]) -> Parser[T]:
    patterns = {label: pattern(label) for label in labels}

    def parse(text: str) -> T | None:
        found = [(match.start(), label) for label, one in patterns.items() for match in one.finditer(text)]
        return labels[choose(found)[1]] if found else None

    return parse


def only_label(labels: Mapping[str, T]) -> Parser[T]:
    """The whole reply is one label, up to space and a final full stop."""

    def parse(text: str) -> T | None:
        return labels.get(text.strip().removesuffix("."))

    return parse


def last_line(labels: Mapping[str, T], fallback: Parser[T] | None = None) -> Parser[T]:
    """The last label of the last line that has any text; before that, what `fallback` finds in the whole reply."""
    inner = last_label(labels)

    def parse(text: str) -> T | None:
        value = fallback(text) if fallback else None
        if value is not None:
            return value
        lines = text.strip().splitlines()
        return inner(lines[-1]) if lines else None

    return parse


def json_object(read: Callable[[dict[str, Any]], T | None]) -> Parser[T]:
    """The last JSON object in the reply that `read` accepts, fenced or not. NaN and Infinity are no JSON."""

    def parse(text: str) -> T | None:
        for found in reversed(_objects(text)):
            value = read(found)
            if value is not None:
                return value
        return None

    return parse


def _objects(text: str) -> list[dict[str, Any]]:
    """The outermost JSON objects of a text, in order; what does not parse is skipped."""
    found: list[dict[str, Any]] = []
    place = text.find("{")
    for _ in range(MAX_TRIES):
        if place < 0:
            break
        try:
            value, end = _DECODER.raw_decode(text, place)
        except (ValueError, RecursionError):
            place = text.find("{", place + 1)
            continue
        found.append(value)
        place = text.find("{", end)
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


def only_object(text: str, keys: Iterable[str]) -> dict[str, Any] | None:
    """The one JSON object of a text that names any of the keys; None where there is none, or another one.

    Other text, and objects that name none of them, may stand around it. A text with an object that holds a key twice,
    NaN or Infinity has none.
    """
    wanted = frozenset(keys)
    try:
        told = [found for found in _faultless(text) if wanted & found.keys()]
    except _Unfit:
        return None
    return told[0] if len(told) == 1 else None


class _Unfit(Exception):
    """Something that no JSON object may hold."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise _Unfit("a key twice")
    return dict(pairs)


def _no_constant(constant: str) -> None:
    raise _Unfit(constant)


_FAULTLESS = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_constant)


def _faultless(text: str) -> Iterator[dict[str, Any]]:
    """The outermost objects of a text. Raises `_Unfit`, also for a text with too many braces to look at."""
    place = text.find("{")
    for _ in range(MAX_TRIES):
        if place < 0:
            return
        try:
            value, end = _FAULTLESS.raw_decode(text, place)
        except (ValueError, RecursionError):
            place = text.find("{", place + 1)
            continue
        yield value
        place = text.find("{", end)
    raise _Unfit("too many braces")
