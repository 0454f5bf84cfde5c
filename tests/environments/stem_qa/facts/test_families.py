"""Every family's answers, computed again on another route: computer algebra, a table reduced by hand, base units."""

import random
import re
from itertools import product

import pytest
import sympy

from environments.stem_qa.choice import TRUTH, Fact, NoOptions, from_fact, from_pick
from environments.stem_qa.facts import MORE_STEPS, ONE_STEP, TWO_STEPS
from environments.stem_qa.facts.chemistry import ELEMENTS

FAMILIES = sorted({*ONE_STEP, *TWO_STEPS, *MORE_STEPS}, key=lambda family: (family.__module__, family.__name__))
NAMES = {
    name: getattr(sympy, name)
    for name in (
        "Rational",
        "Integer",
        "Integral",
        "sqrt",
        "sin",
        "cos",
        "pi",
        "exp",
        "log",
        "Min",
        "binomial",
        "solve",
    )
}
SYMBOLS = {"x": sympy.Symbol("x"), "t": sympy.Symbol("t")}

KG, M, S, A = sympy.symbols("kg m s A", positive=True)
NEWTON = KG * M / S**2
JOULE = NEWTON * M
WATT = JOULE / S
VOLT = WATT / A
UNITS = {
    "force": NEWTON,
    "energy": JOULE,
    "power": WATT,
    "pressure": NEWTON / M**2,
    "momentum": NEWTON * S,
    "electric charge": A * S,
    "voltage": VOLT,
    "electric resistance": VOLT / A,
    "capacitance": A * S / VOLT,
    "magnetic flux density": VOLT * S / M**2,
    "dynamic viscosity": NEWTON / M**2 * S,
    "surface tension": NEWTON / M,
    "frequency": 1 / S,
    "the gravitational constant": NEWTON * M**2 / KG**2,
    "inductance": VOLT * S / A,
    "angular momentum": NEWTON * S * M,
}


def reduced(expression, values):
    """The truth of a bracketed expression, its innermost brackets replaced one after another."""
    text = re.sub(r"\b[pqrs]\b", lambda found: str(values[found[0]]), expression)
    rules = {
        "and": lambda a, b: a and b,
        "or": lambda a, b: a or b,
        "xor": lambda a, b: a is not b,
        "implies": lambda a, b: b if a else True,
        "nand": lambda a, b: not a or not b,
    }
    pattern = re.compile(r"\((True|False) (\w+) (True|False)\)")
    while text not in ("True", "False"):
        text = re.sub(r"not (True|False)", lambda found: str(found[1] == "False"), text)
        text = pattern.sub(lambda f: str(bool(rules[f[2]](f[1] == "True", f[3] == "True"))), text)
    return text == "True"


def second_route(check):
    if check.startswith("rows:"):
        _, expression, names = check.split(":")
        rows = product((False, True), repeat=len(names))
        return sum(reduced(expression, dict(zip(names, row, strict=True))) for row in rows)
    return float(sympy.N(eval(check, {**NAMES, **SYMBOLS}), 15))


def exponents(text):
    digits = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
    unit = sympy.Integer(1)
    for part in [] if text == "1" else text.split("·"):
        symbol, power = re.fullmatch(r"(kg|m|s|A)([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]*)", part).groups()
        unit *= {"kg": KG, "m": M, "s": S, "A": A}[symbol] ** int(power.translate(digits) or 1)
    return unit


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: f"{family.__module__.split('.')[-1]}.{family.__name__}")
def test_answers_agree_with_a_second_route(family):
    draw = random.Random(family.__name__)
    for _ in range(4):
        fact = family(draw)
        if isinstance(fact, Fact):
            assert second_route(fact.check) == pytest.approx(fact.value, rel=1e-6), fact.text
        else:
            one, two, sign = fact.check.split("|")
            wanted = sympy.simplify(UNITS[one] * UNITS[two] ** int(sign))
            assert sympy.simplify(exponents(fact.truth) / wanted) == 1, fact.text
            assert all(sympy.simplify(exponents(wrong) / wanted) != 1 for wrong in fact.wrong.values())


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_options_are_different_and_one_is_true(family):
    draw = random.Random(1)
    made = 0
    for count, level in [(4, 1), (6, 3), (8, 4), (10, 5)] * 3:
        fact = family(draw)
        try:
            choice = from_fact(draw, fact, count, level) if isinstance(fact, Fact) else from_pick(draw, fact, count)
        except NoOptions:
            continue
        made += 1
        assert len(set(choice.options)) == len(choice.options) == count
        assert choice.models.count(TRUTH) == 1 and choice.models[choice.answer] == TRUTH
    assert made >= 6


def test_there_are_many_families_from_many_fields():
    assert len(FAMILIES) >= 50
    assert len({family.__module__ for family in FAMILIES}) == 8


def test_the_table_of_elements():
    """Atomic numbers rise, and no atomic weight is below twice the atomic number but for hydrogen and rounding."""
    numbers = [number for _, number, _ in ELEMENTS.values()]
    assert numbers == sorted(set(numbers))
    assert all(weight > 1.98 * number for name, number, weight in ELEMENTS.values() if name != "hydrogen")
    assert ELEMENTS["Fe"] == ("iron", 26, 55.845)
