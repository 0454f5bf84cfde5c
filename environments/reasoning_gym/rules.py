"""Which answers a strict grader looks at: one gate for each form of answer that the package's graders are lax about.

A gate sees the answer and the item. It refuses what carries more than one answer or none (text around it, a second
value, a number near enough), and leaves it to the package's grader whether the answer is right.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

from environments.reasoning_gym.expressions import harmless, literal, value_of

Item = dict[str, Any]
Rule = Callable[[str, Item], bool]

_NUMBER = re.compile(r"[+-]?(?:\d{1,3}(?:,\d{3})+|\d{1,60})(?:\.\d{0,60})?(?:[eE][+-]?\d{1,3})?", re.ASCII)
_RATIO = re.compile(r"([+-]?\d{1,30})\s*/\s*(\d{1,30})", re.ASCII)
_FRACTION = re.compile(r"\$?(?:(-?)\\d?frac\{\s*(-?\d+)\s*\}\{\s*(\d+)\s*\}|()(-?\d+)\s*/\s*(\d+))\$?", re.ASCII)
_FACTORS = re.compile(r"\d{1,30}(?:\s*[×x*]\s*\d{1,30})*", re.ASCII)
_CLAUSE = re.compile(r"(?:and )?(\w+) is (?:an? )?([\w' -]+)")
NEARNESS = Fraction(1, 100)
"""How far from the gold number an answer may be, relative to it, where the package allows an absolute error."""


def package(answer: str, item: Item) -> bool:
    """The package's grader is exact enough once the pattern has let the answer through."""
    return True


def text(answer: str, item: Item) -> bool:
    """One text is right, spaces at line ends apart."""
    return _lines(answer) == _lines(_gold(item))


def words(answer: str, item: Item) -> bool:
    """One text is right, whatever its case."""
    return " ".join(answer.split()).casefold() == " ".join(_gold(item).split()).casefold()


def number(answer: str, item: Item) -> bool:
    """One number is right, however it is written."""
    given, gold = _number(answer), _number(_gold(item))
    return given is not None and given == gold


def near(answer: str, item: Item) -> bool:
    """A number close to the right one, relative to it: no zero for something small."""
    given, gold = _number(answer) or _ratio(answer), _number(_gold(item))
    return given is not None and gold is not None and abs(given - gold) <= abs(gold) * NEARNESS


def numbers(answer: str, item: Item) -> bool:
    """Exactly the right numbers, separated by commas; an empty pair of quotes where there is none."""
    if not _gold(item):
        return answer in ('""', "''")
    given = [_number(part.strip()) for part in answer.split(",")]
    gold = [_number(part.strip()) for part in _gold(item).split(",")]
    return None not in given and sorted(map(_known, given)) == sorted(map(_known, gold))


def number_list(answer: str, item: Item) -> bool:
    """A list of numbers, quoted or not, each exactly the right one."""
    try:
        given, gold = (literal(side) for side in (answer, _gold(item)))
    except (ValueError, ArithmeticError, RecursionError):
        return False
    if not isinstance(given, list) or not isinstance(gold, list):
        return False
    values = [_number(str(value)) for value in given]
    return None not in values and values == [_number(str(value)) for value in gold]


def same_json(answer: str, item: Item) -> bool:
    """The same JSON value, numbers and flags told apart."""
    try:
        return _typed(_json(answer)) == _typed(_json(_gold(item)))
    except (ValueError, RecursionError):
        return False


def some_json(answer: str, item: Item) -> bool:
    """Any JSON value, for graders with several right answers."""
    try:
        return isinstance(_json(answer), list | dict)
    except (ValueError, RecursionError):
        return False


def formula(answer: str, item: Item) -> bool:
    """A formula that holds nothing but numbers, letters and well-known functions."""
    return harmless(answer)


def sums(answer: str, item: Item) -> bool:
    """Arithmetic that uses each of the given numbers once and comes out at the target."""
    read = value_of(answer)
    metadata = item["metadata"]
    return (
        read is not None
        and read[0] == metadata.get("target", 24)
        and sorted(read[1]) == sorted(int(given) for given in metadata["numbers"])
    )


def factors(answer: str, item: Item) -> bool:
    """The right prime factors in any order."""
    if not _FACTORS.fullmatch(answer):
        return False
    return sorted(map(int, re.findall(r"\d+", answer))) == sorted(map(int, re.findall(r"\d+", _gold(item))))


def fraction(answer: str, item: Item) -> bool:
    """The right numerator and denominator, plain or in LaTeX."""
    given, gold = _FRACTION.fullmatch(answer), _FRACTION.fullmatch(_gold(item))
    return given is not None and gold is not None and _parts(given) == _parts(gold)


def clauses(answer: str, item: Item) -> bool:
    """`X is a knight, and Y is a knave`: each inhabitant once, nothing beside them."""
    given, gold = _clauses(answer), _clauses(_gold(item))
    return given is not None and gold is not None and sorted(given) == sorted(gold)


def one_of(answer: str, item: Item) -> bool:
    """One of the solutions that the item lists."""
    return any(_lines(answer) == _lines(str(valid)) for valid in item["metadata"]["valid_answers"])


RULES: dict[str, Rule] = {
    rule.__name__: rule
    for rule in (
        package,
        text,
        words,
        number,
        near,
        numbers,
        number_list,
        same_json,
        some_json,
        formula,
        sums,
        factors,
        fraction,
        clauses,
        one_of,
    )
}

# Reading ------------------------------------------------------------------------------------------------------------


def _gold(item: Item) -> str:
    return str(item["answer"])


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip().splitlines()]


def _number(text: str) -> Fraction | None:
    text = text.strip()
    return Fraction(Decimal(text.replace(",", ""))) if _NUMBER.fullmatch(text) else None


def _ratio(text: str) -> Fraction | None:
    found = _RATIO.fullmatch(text.strip())
    return Fraction(int(found[1]), int(found[2])) if found and int(found[2]) else None


def _known(value: Fraction | None) -> Fraction:
    assert value is not None
    return value


def _json(text: str) -> Any:
    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def _typed(value: Any) -> Any:
    """A value in which `1`, `true` and `1.0` differ as JSON has them, numbers compared by value."""
    if isinstance(value, dict):
        return {key: _typed(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_typed(inner) for inner in value]
    return (isinstance(value, bool), value)


def _parts(match: re.Match[str]) -> tuple[int, int]:
    sign = -1 if match[1] else 1
    return sign * int(match[2] or match[5]), int(match[3] or match[6])


def _clauses(text: str) -> list[tuple[str, str]] | None:
    parts = [part.strip() for part in re.split(r",| and ", text.casefold().strip().rstrip("."))]
    found = [_CLAUSE.fullmatch(part) for part in parts if part]
    return [(match[1], match[2].strip()) for match in found if match] if found and all(found) else None
