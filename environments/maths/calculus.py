"""Families of calculus: values of derivatives, limits, largest values, areas."""

from __future__ import annotations

import random
from fractions import Fraction

from environments.maths.problems import Problem, nonzero, polynomial, problem


def derivative_value(rng: random.Random) -> Problem:
    d, c, b, a = rng.randint(-9, 9), rng.randint(-9, 9), rng.randint(-9, 9), nonzero(rng, 5)
    at = rng.randint(-4, 4)
    text = f"Let f(x) = {polynomial([d, c, b, a])}. What is f'({at})?"
    return problem(text, 3 * a * at * at + 2 * b * at + c, f"diff({a}*x**3+{b}*x**2+{c}*x+{d},x).subs(x,{at})")


def limit_of_quotient(rng: random.Random) -> Problem:
    p, q, r = rng.sample(range(-9, 10), 3)
    a, b = nonzero(rng, 5), nonzero(rng, 5)
    above = polynomial([a * p * q, -a * (p + q), a])
    below = polynomial([b * p * r, -b * (p + r), b])
    text = f"Find \\lim_{{x \\to {p}}} \\frac{{{above}}}{{{below}}}."
    check = f"limit({a}*(x-({p}))*(x-({q}))/expand({b}*(x-({p}))*(x-({r}))),x,{p})"
    return problem(text, Fraction(a * (p - q), b * (p - r)), check)


def largest_value(rng: random.Random) -> Problem:
    a, b, c = rng.randint(1, 9), nonzero(rng, 20), rng.randint(-20, 20)
    text = f"What is the largest value of {polynomial([c, b, -a])} for real x?"
    answer = Fraction(b * b, 4 * a) + c
    return problem(text, answer, f"maximum(-{a}*x**2+{b}*x+{c},x)")


def area_between(rng: random.Random) -> Problem:
    p = rng.randint(-8, 6)
    q = p + rng.randint(1, 8)
    a = rng.randint(1, 4)
    line = polynomial([-a * p * q, a * (p + q)])
    text = f"What is the area between the parabola y = {polynomial([0, 0, a])} and the line y = {line}?"
    check = f"integrate({a}*({p}+{q})*x-{a}*({p})*({q})-{a}*x**2,(x,{p},{q}))"
    return problem(text, Fraction(a * (q - p) ** 3, 6), check)


def tangent(rng: random.Random) -> Problem:
    c, b, a, at = rng.randint(-9, 9), rng.randint(-9, 9), nonzero(rng, 6), nonzero(rng, 6)
    text = f"The tangent to y = {polynomial([c, b, a])} at x = {at} meets the y-axis at (0, t). What is t?"
    check = f"(lambda f: f.subs(x,{at})-{at}*diff(f,x).subs(x,{at}))({a}*x**2+{b}*x+({c})+0*x)"
    return problem(text, c - a * at * at, check)
