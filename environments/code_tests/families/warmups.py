"""Levels 0 and 1: one line in, one line out."""

from __future__ import annotations

import random

from environments.code_tests.families.base import Family, Params, line, numbers, size

_THINGS = ("apples", "bolts", "coins", "cards", "seeds", "tiles", "stamps", "beads", "ropes", "jars")
_WORDS = "abcdehilmnoprstu"


_NAMES = "abcdefghkmnpqrstuvwxyz"
_OPERATIONS = {
    "{0} plus {1}": "{0} + {1}",
    "{0} minus {1}": "{0} - {1}",
    "{0} times {1}": "{0} * {1}",
    "the larger of {0} and {1}": "max({0}, {1})",
    "the smaller of {0} and {1}": "min({0}, {1})",
}


def _draw_one_line(rng: random.Random, level: int) -> Params:
    first, second = rng.sample(_NAMES, 2)
    return {"names": [first, second], "operation": rng.choice(sorted(_OPERATIONS))}


def _tell_one_line(p: Params) -> str:
    first, second = p["names"]
    return f"Python: read {first} and {second}, print {p['operation'].format(first, second)}."


def _short_one_line(p: Params) -> str:
    first, second = p["names"]
    expression = _OPERATIONS[p["operation"]].format(first, second)
    return f"{first}, {second} = map(int, input().split())\nprint({expression})\n"


def _case_one_line(rng: random.Random, p: Params, kind: str) -> str:
    high = {"tiny": 9, "edge": 1, "random": 1000, "large": 10**9}[kind]
    return line(rng.randint(-high, high), rng.randint(-high, high)) + "\n"


def one_line(text: str, operation: str) -> str:
    a, b = map(int, text.split())
    if "times" in operation:
        value = a * b
    elif "the" in operation:
        value = max(a, b) if "larger" in operation else min(a, b)
    else:
        value = a + b if "plus" in operation else a - b
    return str(value)


def one_line_slow(text: str, operation: str) -> str:
    a, b = (int(word) for word in text.split())
    if "times" in operation:
        return str(sum([abs(a)] * abs(b)) * (1 if (a < 0) == (b < 0) else -1))
    if "the" in operation:
        return str(sorted((a, b))["larger" in operation])
    return str(a - (-b if "plus" in operation else b))


ONE_LINE = Family(
    name="one_line",
    levels=(0,),
    draw=_draw_one_line,
    tell=_tell_one_line,
    case=_case_one_line,
    solve=one_line,
    brute=one_line_slow,
    slips=(("a, b = map(int, text.split())", "a = b = int(text.split()[0])"), ("str(value)", "str(value + 1)")),
    constants=("operation",),
    slow_brute=False,
    short=_short_one_line,
)


def _draw_formula(rng: random.Random, level: int) -> Params:
    return {"p": rng.randint(1, 20), "q": rng.randint(1, 20), "r": rng.randint(-30, 30), "thing": rng.choice(_THINGS)}


def _tell_formula(p: Params) -> str:
    sign, r = ("plus", p["r"]) if p["r"] >= 0 else ("minus", -p["r"])
    return (
        f"Read two integers a and b, numbers of {p['thing']}, from one line. Print {p['p']} times a plus {p['q']} "
        "times b "
        f"{sign} {r}."
    )


def _case_formula(rng: random.Random, p: Params, kind: str) -> str:
    high = {"tiny": 9, "edge": 0, "random": 1000, "large": 10**9}[kind]
    return line(rng.randint(-high, high), rng.randint(-high, high)) + "\n"


def formula(text: str, p: int, q: int, r: int) -> str:
    a, b = map(int, text.split())
    return str(p * a + q * b + r)


def formula_slow(text: str, p: int, q: int, r: int) -> str:
    a, b = text.split()
    return str(sum([int(a)] * p) + sum([int(b)] * q) - (-r))


FORMULA = Family(
    name="formula",
    levels=(1,),
    draw=_draw_formula,
    tell=_tell_formula,
    case=_case_formula,
    solve=formula,
    brute=formula_slow,
    slips=(("p * a + q * b", "q * a + p * b + 1"), ("a, b = map(int, text.split())", "b = a = int(text.split()[0])")),
    constants=("p", "q", "r"),
    slow_brute=False,
)


def _draw_letters(rng: random.Random, level: int) -> Params:
    a, b = rng.sample(_WORDS, 2)
    return {"a": a, "b": b, "weight": rng.randint(2, 9)}


def _tell_letters(p: Params) -> str:
    return (
        f"Read one word of lower-case letters. Each letter {p['a']} in it is worth {p['weight']} points, each letter "
        f"{p['b']} is worth 1 point, all others nothing. Print how many points the word is worth."
    )


def _case_letters(rng: random.Random, p: Params, kind: str) -> str:
    length = size(rng, kind, 200)
    letters = _WORDS if kind != "tiny" else p["a"] + p["b"] + "x"
    return "".join(rng.choice(letters) for _ in range(length)) + "\n"


def letters(text: str, a: str, b: str, weight: int) -> str:
    word = text.strip()
    return str(word.count(a) * weight + word.count(b))


def letters_slow(text: str, a: str, b: str, weight: int) -> str:
    return str(sum({a: weight, b: 1}.get(letter, 0) for letter in text))


LETTERS = Family(
    name="letters",
    levels=(1,),
    draw=_draw_letters,
    tell=_tell_letters,
    case=_case_letters,
    solve=letters,
    brute=letters_slow,
    slips=(("word.count(a) * weight", "word.count(a)"), ("+ word.count(b)", "")),
    constants=("a", "b", "weight"),
    slow_brute=False,
)


def _draw_extremes(rng: random.Random, level: int) -> Params:
    return {"least": rng.randint(-5, 60), "times": rng.randint(2, 9), "thing": rng.choice(_THINGS)}


def _tell_extremes(p: Params) -> str:
    return (
        f"Read one line of integers, the {p['thing']} found each day. Print {p['times']} times the largest of those "
        "that "
        f"are greater than {p['least']}, or 0 when there is none."
    )


def _case_extremes(rng: random.Random, p: Params, kind: str) -> str:
    if kind == "edge":
        return line(*numbers(rng, 3, p["least"] - 5, p["least"] + 1)) + "\n"
    return line(*numbers(rng, size(rng, kind, 100), p["least"] - 20, p["least"] + 20)) + "\n"


def extremes(text: str, least: int, times: int) -> str:
    return str(times * max([n for n in map(int, text.split()) if n > least], default=0))


def extremes_slow(text: str, least: int, times: int) -> str:
    kept = sorted(n for n in map(int, text.split()) if not n <= least)
    return str(kept[-1] * times) if kept else "0"


EXTREMES = Family(
    name="extremes",
    levels=(1,),
    draw=_draw_extremes,
    tell=_tell_extremes,
    case=_case_extremes,
    solve=extremes,
    brute=extremes_slow,
    slips=(("max(", "min("), ("n > least", "n <= least")),
    constants=("least", "times"),
    slow_brute=False,
)

ALL = (ONE_LINE, FORMULA, LETTERS, EXTREMES)
