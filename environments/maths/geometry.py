"""Families of geometry: lengths, angles, areas, in the plane and in space."""

from __future__ import annotations

import math
import random
from fractions import Fraction

from environments.maths.problems import Problem, problem
from environments.maths.surds import PI, root

TRIPLES = ((3, 4, 5), (5, 12, 13), (8, 15, 17), (7, 24, 25), (20, 21, 29), (9, 40, 41))
EXACT = "Give the exact value."


def rectangle(rng: random.Random) -> Problem:
    a, b = rng.randint(3, 60), rng.randint(3, 60)
    if rng.random() < 0.5:
        return problem(f"A rectangle has sides {a} and {b}. What is its area?", a * b, f"integrate({a},(x,0,{b}))")
    return problem(f"A rectangle has sides {a} and {b}. What is its perimeter?", 2 * (a + b), f"{a}+{b}+{a}+{b}")


def third_angle(rng: random.Random) -> Problem:
    a, b = rng.randint(20, 80), rng.randint(20, 80)
    name, other = rng.sample("ABC", 2)
    text = (
        f"In triangle ABC angle {name} measures {a} degrees and angle {other} measures {b} degrees. "
        "How many degrees does the third angle measure?"
    )
    return problem(text, 180 - a - b, f"solve({a}+{b}+x-180,x)[0]")


def right_triangle(rng: random.Random) -> Problem:
    scale = rng.randint(1, 30)
    one, other, long = (scale * side for side in rng.choice(TRIPLES))
    if rng.random() < 0.5:
        text = f"A right triangle has legs {one} and {other}. How long is its hypotenuse?"
        return problem(text, long, f"Point(0,0).distance(Point({one},{other}))")
    text = f"A right triangle has hypotenuse {long} and one leg {one}. How long is the other leg?"
    return problem(text, other, f"max(solve(x**2+{one}**2-{long}**2,x))")


def slope(rng: random.Random) -> Problem:
    x1, x2 = rng.sample(range(-12, 13), 2)
    y1, y2 = rng.randint(-20, 20), rng.randint(-20, 20)
    text = f"What is the slope of the line through ({x1},{y1}) and ({x2},{y2})?"
    return problem(text, Fraction(y2 - y1, x2 - x1), f"solve([{x1}*x+y-({y1}),{x2}*x+y-({y2})],[x,y])[x]")


def triangle_area(rng: random.Random) -> Problem:
    while True:
        (x1, y1), (x2, y2), (x3, y3) = ((rng.randint(-9, 9), rng.randint(-9, 9)) for _ in range(3))
        twice = abs((x2 - x1) * (y3 - y1) - (x3 - x1) * (y2 - y1))
        if twice:
            break
    text = f"What is the area of the triangle with corners ({x1},{y1}), ({x2},{y2}) and ({x3},{y3})?"
    return problem(text, Fraction(twice, 2), f"Abs(Matrix([[{x1},{y1},1],[{x2},{y2},1],[{x3},{y3},1]]).det())/2")


def distance(rng: random.Random) -> Problem:
    x1, y1, x2, y2 = (rng.randint(-15, 15) for _ in range(4))
    x2 += 31 * (x1 == x2 and y1 == y2)
    text = f"What is the distance between ({x1},{y1}) and ({x2},{y2})? {EXACT}"
    return problem(text, root((x1 - x2) ** 2 + (y1 - y2) ** 2), f"Point({x1},{y1}).distance(Point({x2},{y2}))")


def sector(rng: random.Random) -> Problem:
    radius, angle = rng.randint(2, 24), rng.randrange(10, 360, 5)
    text = f"A sector of a circle has radius {radius} and an angle of {angle} degrees."
    if rng.random() < 0.5:
        area = {PI: Fraction(angle, 360) * radius**2}
        return problem(f"{text} What is its area? {EXACT}", area, f"integrate({radius}**2/S(2),(x,0,pi*{angle}/180))")
    arc = {PI: Fraction(angle, 180) * radius}
    return problem(f"{text} How long is its arc? {EXACT}", arc, f"integrate({radius},(x,0,pi*{angle}/180))")


def heron(rng: random.Random) -> Problem:
    while True:
        a, b, c = (rng.randint(4, 25) for _ in range(3))
        sixteen = (a + b + c) * (a + b - c) * (a - b + c) * (-a + b + c)
        if sixteen > 0 and min(a + b - c, a - b + c, -a + b + c) > 0:
            break
    text = f"A triangle has sides {a}, {b} and {c}. What is its area? {EXACT}"
    foot = f"(S({a})**2+{c}**2-{b}**2)/(2*{c})"  # where the height stands on side c
    return problem(text, root(Fraction(sixteen, 16)), f"sqrt({a}**2-({foot})**2)*{c}/2")


def box_diagonal(rng: random.Random) -> Problem:
    a, b, c = (rng.randint(2, 20) for _ in range(3))
    text = f"A box has edges {a}, {b} and {c}. How long is its space diagonal? {EXACT}"
    return problem(text, root(a * a + b * b + c * c), f"sqrt(sqrt(S({a})**2+{b}**2)**2+{c}**2)")


def chord(rng: random.Random) -> Problem:
    radius = rng.randint(5, 30)
    away = rng.randint(1, radius - 1)
    text = f"A chord of a circle of radius {radius} lies at distance {away} from the centre. How long is it? {EXACT}"
    half = root(radius**2 - away**2)
    whole = {unit: 2 * amount for unit, amount in half.items()}
    return problem(text, whole, f"2*{radius}*sin(acos(Rational({away},{radius})))")


def polygon_angle(rng: random.Random) -> Problem:
    corners = rng.randint(5, 60)
    text = f"How many degrees does each interior angle of a regular polygon with {corners} corners measure?"
    if rng.random() < 0.5:
        text = f"How many diagonals does a convex polygon with {corners} corners have?"
        return problem(text, math.comb(corners, 2) - corners, f"{corners}*({corners}-3)/S(2)")
    return problem(text, Fraction((corners - 2) * 180, corners), f"180-S(360)/{corners}")
