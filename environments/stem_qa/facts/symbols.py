"""Units, dimensions and truth tables."""

from __future__ import annotations

import random
from itertools import product

from environments.stem_qa.choice import Fact, Pick
from environments.stem_qa.facts.motion import tenths

CONVERSIONS: tuple[tuple[str, str, str, float, float], ...] = (
    ("area", "cm²", "mm²", 100.0, 10.0),
    ("area", "ha", "m²", 10_000.0, 100.0),
    ("volume", "L", "cm³", 1000.0, 100.0),
    ("volume", "m³", "L", 1000.0, 10.0),
    ("speed", "m/s", "km/h", 3.6, 3.6**2),
    ("energy", "kWh", "MJ", 3.6, 3.6**2),
    ("pressure", "bar", "kPa", 100.0, 10.0),
    ("length", "µm", "nm", 1000.0, 1000.0),
    ("time", "h", "s", 3600.0, 60.0),
    ("mass", "t", "kg", 1000.0, 1000.0),
)
"""Quantity, from, to, factor, and the ratio of a wrong factor to the right one."""

COMPOUND: tuple[tuple[str, str, str, str, dict[str, float]], ...] = (
    ("density", "g/cm³", "kg/m³", "10**3", {"forgot the cube": 10.0**4, "forgot the mass": 1000.0}),
    ("flow", "L/min", "m³/h", "Rational(60,1000)", {"forgot the minutes": 60.0, "forgot the litres": 1000.0}),
    ("speed", "km/h", "m/s", "Rational(5,18)", {"inverse factor": 3.6**2, "hours as 60 s": 60.0}),
    ("acceleration", "km/h per s", "m/s²", "Rational(5,18)", {"inverse factor": 3.6**2, "hours squared": 3600.0}),
    ("pressure", "N/cm²", "kPa", "10", {"forgot the square": 100.0, "forgot the kilo": 1000.0}),
    ("thermal conductivity", "W/(cm K)", "W/(m K)", "100", {"inverse factor": 10.0**4, "squared": 100.0}),
    (
        "fuel use",
        "L/100 km",
        "mL/m",
        "Rational(1,100)",
        {"forgot the hundred": 100.0, "forgot the millilitres": 1000.0},
    ),
)
VALUES = {
    "10**3": 1000.0,
    "Rational(60,1000)": 0.06,
    "Rational(5,18)": 5 / 18,
    "10": 10.0,
    "100": 100.0,
    "Rational(1,100)": 0.01,
}

SYMBOLS = ("kg", "m", "s", "A")
# Exponents of these.
QUANTITIES: dict[str, tuple[int, int, int, int]] = {
    "force": (1, 1, -2, 0), "energy": (1, 2, -2, 0), "power": (1, 2, -3, 0), "pressure": (1, -1, -2, 0),
    "momentum": (1, 1, -1, 0), "electric charge": (0, 0, 1, 1), "voltage": (1, 2, -3, -1),
    "electric resistance": (1, 2, -3, -2), "capacitance": (-1, -2, 4, 2), "magnetic flux density": (1, 0, -2, -1),
    "dynamic viscosity": (1, -1, -1, 0), "surface tension": (1, 0, -2, 0), "frequency": (0, 0, -1, 0),
    "the gravitational constant": (-1, 3, -2, 0), "inductance": (1, 2, -2, -2), "angular momentum": (1, 2, -1, 0),
}  # fmt: skip


def conversion(rng: random.Random) -> Fact:
    name, source, target, factor, wrong = rng.choice(CONVERSIONS)
    value = tenths(rng, 1.2, 95)
    forth = rng.random() < 0.5
    if not forth:
        source, target = target, source
    return Fact(
        f"Convert a {name} of {value} {source} to {target}.",
        value * factor if forth else value / factor,
        target,
        {"inverse factor": factor**2, "factor of another power": wrong},
        f"Rational('{value}'){'*' if forth else '/'}Rational('{factor}')",
    )


def compound_unit(rng: random.Random) -> Fact:
    name, source, target, factor, errors = rng.choice(COMPOUND)
    value = tenths(rng, 1.2, 95)
    return Fact(
        f"Convert a {name} of {value} {source} to {target}.",
        value * VALUES[factor],
        target,
        dict(errors),
        f"Rational('{value}')*{factor}",
    )


def base_units(exponents: tuple[int, ...]) -> str:
    """`kg·m²·s⁻³`."""
    digits = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    parts = [
        symbol + ("" if power == 1 else str(power).translate(digits))
        for symbol, power in zip(SYMBOLS, exponents, strict=True)
        if power
    ]
    return "·".join(parts) or "1"


def dimensions(rng: random.Random) -> Pick:
    """Wrong ones lie with the truth on a lattice of exponents, at a drawn place: the truth is not its middle."""
    one, two = rng.sample(list(QUANTITIES), 2)
    divide = rng.random() < 0.5
    sign = -1 if divide else 1
    pairs = zip(QUANTITIES[one], QUANTITIES[two], strict=True)
    truth = tuple(left + sign * right for left, right in pairs)
    wrong: dict[str, str] = {}
    axes = rng.sample(range(4), 3)
    steps = [rng.choice((-1, 1)) for _ in axes]
    origin = tuple(rng.randrange(3) for _ in axes)
    for corner in product(range(3), repeat=len(axes)):
        exponents = list(truth)
        for axis, step, here, there in zip(axes, steps, origin, corner, strict=True):
            exponents[axis] += step * (there - here)
        slips = [
            f"{SYMBOLS[axis]}^{exponents[axis] - truth[axis]:+d}" for axis in axes if exponents[axis] != truth[axis]
        ]
        if slips:
            wrong[f"off by {' '.join(slips)}"] = base_units(tuple(exponents))
    what = f"{one} divided by {two}" if divide else f"the product of {one} and {two}"
    return Pick(f"What are the SI base units of {what}?", base_units(truth), wrong, f"{one}|{two}|{sign}")


OPERATORS = ("and", "or", "xor", "implies", "nand")


def true_rows(rng: random.Random) -> Fact:
    return _rows(rng, "pqr", 2)


def nested_rows(rng: random.Random) -> Fact:
    return _rows(rng, "pqrs", 4)


def _rows(rng: random.Random, names: str, operators: int) -> Fact:
    expression = _expression(rng, names, operators)
    text, value = unbracketed(expression), count_true(expression, names)
    return Fact(
        f"How many of the {2 ** len(names)} rows of the truth table of {text} are true?",
        value,
        "rows",
        {"false for true": float(2 ** len(names) - 2 * value) or 3.0, "one operator misread": 2.0},
        f"rows:{expression}:{names}",
        counted=True,
        limit=2.0 ** len(names),
    )


def _expression(rng: random.Random, names: str, operators: int) -> str:
    """Fully bracketed text over these names, with so many operators at least as there are names to join."""
    parts = [("not " if rng.random() < 0.3 else "") + name for name in rng.sample(names, len(names))]
    while len(parts) < operators + 1:
        parts.append(rng.choice(names))
    while len(parts) > 1:
        place = rng.randrange(len(parts) - 1)
        joined = f"({parts[place]} {rng.choice(OPERATORS)} {parts[place + 1]})"
        if rng.random() < 0.2:
            joined = f"not {joined}"
        parts[place : place + 2] = [joined]
    return parts[0]


def unbracketed(expression: str) -> str:
    """Without the brackets around all of it."""
    return expression[1:-1] if expression.startswith("(") else expression


def count_true(expression: str, names: str) -> int:
    """Rows that come out true, by a reader of its own (no `eval`)."""
    total = 0
    for values in product((False, True), repeat=len(names)):
        tokens = expression.replace("(", " ( ").replace(")", " ) ").split()
        value, rest = _read(tokens, dict(zip(names, values, strict=True)))
        assert not rest, rest
        total += value
    return total


def _read(tokens: list[str], values: dict[str, bool]) -> tuple[bool, list[str]]:
    head, rest = tokens[0], tokens[1:]
    if head == "not":
        value, rest = _read(rest, values)
        return not value, rest
    if head != "(":
        return values[head], rest
    left, rest = _read(rest, values)
    operator, rest = rest[0], rest[1:]
    right, rest = _read(rest, values)
    result = {
        "and": left and right,
        "or": left or right,
        "xor": left != right,
        "implies": not left or right,
        "nand": not (left and right),
    }[operator]
    return result, rest[1:]
