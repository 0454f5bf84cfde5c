"""Families of algebra beyond single equations: polynomials, systems, roots that are no rational numbers."""

from __future__ import annotations

import math
import random
from fractions import Fraction

from environments.maths.problems import Problem, nonzero, polynomial, problem
from environments.maths.surds import root


def polynomial_remainder(rng: random.Random) -> Problem:
    given = [rng.randint(-9, 9) for _ in range(3)] + [nonzero(rng, 6)]
    at = nonzero(rng, 5)
    divisor = polynomial([-at, 1])
    text = f"What is the remainder when {polynomial(given)} is divided by {divisor}?"
    value = 0
    for one in reversed(given):
        value = value * at + one
    whole = "+".join(f"({one})*x**{power}" for power, one in enumerate(given))
    return problem(text, value, f"rem({whole},{divisor},x)")


def coefficient(rng: random.Random) -> Problem:
    a, b, power = rng.randint(1, 5), nonzero(rng, 6), rng.randint(4, 9)
    wanted = rng.randint(1, power - 1)
    text = f"What is the coefficient of x^{wanted} in ({polynomial([b, a])})^{power}?"
    answer = math.comb(power, wanted) * a**wanted * b ** (power - wanted)
    return problem(text, answer, f"Poly(({a}*x+({b}))**{power},x).coeff_monomial(x**{wanted})")


def larger_root(rng: random.Random) -> Problem:
    while True:
        a, b, c = rng.randint(1, 6), rng.randint(-15, 15), rng.randint(-20, 20)
        inside = b * b - 4 * a * c
        if inside > 0 and math.isqrt(inside) ** 2 != inside:
            break
    text = f"What is the larger root of {polynomial([c, b, a])} = 0? Give the exact value."
    answer = {unit: amount / (2 * a) for unit, amount in root(inside).items()}
    if b:
        answer[1] = Fraction(-b, 2 * a)
    return problem(text, answer, f"max(solve({a}*x**2+({b})*x+({c}),x))")


def system_of_three(rng: random.Random) -> Problem:
    found = [rng.randint(-6, 6) for _ in range(3)]
    while True:
        rows = [[nonzero(rng, 5) for _ in range(3)] for _ in range(3)]
        if _determinant(rows):
            break
    totals = [sum(one * value for one, value in zip(row, found, strict=True)) for row in rows]
    shown = ", ".join(f"{_line(row)} = {total}" for row, total in zip(rows, totals, strict=True))
    text = f"The numbers x, y and z satisfy {shown}. What is x + y + z?"
    check = f"sum(Matrix({rows}).LUsolve(Matrix({totals})))"
    return problem(text, sum(found), check)


def _line(row: list[int]) -> str:
    shown = polynomial([0, row[0]])
    for one, name in zip(row[1:], "yz", strict=True):
        size = "" if abs(one) == 1 else abs(one)
        shown += f" {'+' if one > 0 else '-'} {size}{name}"
    return shown


def _determinant(rows: list[list[int]]) -> int:
    (a, b, c), (d, e, f), (g, h, i) = rows
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
