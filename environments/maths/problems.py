"""A problem (text, exact answer, a second route to it as a sympy expression), and the families of plain reckoning."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from fractions import Fraction

from environments.maths.stories import NAMES, OBJECTS


@dataclass(slots=True, frozen=True)
class Problem:
    """`check` is an expression whose value is the answer, found another way than `answer` was.

    The answer is a rational number, or a sum of roots and multiples of π by units (`surds`).
    """

    text: str
    answer: Fraction | dict[int, Fraction]
    check: str


def problem(text: str, answer: int | Fraction | dict[int, Fraction], check: str) -> Problem:
    return Problem(text, answer if isinstance(answer, dict) else Fraction(answer), check)


def polynomial(coefficients: list[int]) -> str:
    """`3x^2 - x + 5` from [5, -1, 3]; `0` where there is nothing."""
    shown = ""
    for power in reversed(range(len(coefficients))):
        number = coefficients[power]
        if not number:
            continue
        variable = "" if power == 0 else "x" if power == 1 else f"x^{power}"
        size = "" if abs(number) == 1 and power else str(abs(number))
        sign = "-" if number < 0 else "+"
        shown += f" {sign} {size}{variable}" if shown else f"{'-' if number < 0 else ''}{size}{variable}"
    return shown or "0"


def _signed(number: int) -> str:
    """`+ 3` or `- 3`."""
    return f"+ {number}" if number >= 0 else f"- {-number}"


def nonzero(rng: random.Random, largest: int) -> int:
    return rng.choice([number for number in range(-largest, largest + 1) if number])


# Level 1 ------------------------------------------------------------------------------------------------------------


def sum_of_two(rng: random.Random) -> Problem:
    a, b = rng.randint(10, 99), rng.randint(10, 99)
    if rng.random() < 0.5:
        return problem(f"What is {a} + {b}?", a + b, f"{b}+{a}")
    return problem(f"What is {a} - {b}?", a - b, f"-({b}-{a})")


def two_step_story(rng: random.Random) -> Problem:
    name, things = rng.choice(NAMES), rng.choice(OBJECTS)
    a, b = rng.randint(5, 30), rng.randint(5, 30)
    c = rng.randint(1, a + b)
    text = f"{name} has {a} {things}, buys {b} more and gives away {c}. How many {things} does {name} have now?"
    return problem(text, a + b - c, f"{b}-{c}+{a}")


def product(rng: random.Random) -> Problem:
    a, b = rng.randint(2, 12), rng.randint(11, 40)
    return problem(f"What is {a} times {b}?", a * b, f"Sum({b},(k,1,{a})).doit()")


# Level 2 ------------------------------------------------------------------------------------------------------------


def expression(rng: random.Random) -> Problem:
    a, b, c, d = (rng.randint(2, 15) for _ in range(4))
    text = f"Compute ({a} + {b}) \\cdot {c} - {d}^2."
    return problem(text, (a + b) * c - d * d, f"{a}*{c}+{b}*{c}-{d}**2")


def division_story(rng: random.Random) -> Problem:
    name, things = rng.choice(NAMES), rng.choice(OBJECTS)
    boxes, each, extra = rng.randint(3, 12), rng.randint(4, 20), rng.randint(1, 30)
    total = boxes * each
    text = (
        f"{name} shares {total} {things} equally among {boxes} boxes and then adds {extra} to one of them. "
        f"How many {things} are in that box?"
    )
    return problem(text, each + extra, f"Rational({total},{boxes})+{extra}")


def missing_number(rng: random.Random) -> Problem:
    x, a, b = rng.randint(2, 40), rng.randint(2, 9), rng.randint(2, 60)
    text = f"A number is multiplied by {a} and then {b} is added. The result is {a * x + b}. What is the number?"
    return problem(text, x, f"solve({a}*x+{b}-{a * x + b},x)[0]")


# Level 3 ------------------------------------------------------------------------------------------------------------


def linear_equation(rng: random.Random) -> Problem:
    a, c = rng.sample([number for number in range(-9, 10) if number], 2)
    b, d = rng.randint(-30, 30), rng.randint(-30, 30)
    text = f"Solve for x: {a}x {_signed(b)} = {c}x {_signed(d)}."
    return problem(text, Fraction(d - b, a - c), f"solve({a}*x+{b}-({c}*x+{d}),x)[0]")


def fraction_sum(rng: random.Random) -> Problem:
    a, c = rng.randint(1, 12), rng.randint(1, 12)
    b, d = rng.randint(2, 15), rng.randint(2, 15)
    text = f"Compute \\frac{{{a}}}{{{b}}} + \\frac{{{c}}}{{{d}}} as a fraction in lowest terms."
    return problem(text, Fraction(a, b) + Fraction(c, d), f"Rational({a * d}+{c * b},{b * d})")


def greatest_common_divisor(rng: random.Random) -> Problem:
    shared = rng.randint(2, 40)
    a, b = shared * rng.randint(2, 40), shared * rng.randint(2, 40)
    if rng.random() < 0.5:
        text = f"What is the greatest common divisor of {a} and {b}?"
        return problem(text, math.gcd(a, b), f"max(set(divisors({a}))&set(divisors({b})))")
    text = f"What is the least common multiple of {a} and {b}?"
    return problem(text, math.lcm(a, b), f"{a}*{b}/gcd({a},{b})")


# Level 4 ------------------------------------------------------------------------------------------------------------


def remainder(rng: random.Random) -> Problem:
    a, b, modulus = rng.randint(100, 9999), rng.randint(100, 9999), rng.randint(7, 97)
    text = f"What is the remainder when {a} \\cdot {b} is divided by {modulus}?"
    return problem(text, a * b % modulus, f"Mod(({a}%{modulus})*({b}%{modulus}),{modulus})")


def linear_system(rng: random.Random) -> Problem:
    x, y = rng.randint(-9, 9), rng.randint(-9, 9)
    while True:
        a, b, c, d = (nonzero(rng, 7) for _ in range(4))
        if a * d != b * c:
            break
    e, f = a * x + b * y, c * x + d * y
    text = f"If {a}x {_signed(b)}y = {e} and {c}x {_signed(d)}y = {f}, what is x \\cdot y?"
    solved = f"solve([{a}*x+{b}*y-({e}),{c}*x+{d}*y-({f})],[x,y])"
    return problem(text, x * y, f"(lambda s: s[x]*s[y])({solved})")


def arithmetic_series(rng: random.Random) -> Problem:
    first, step, count = rng.randint(-10, 20), rng.randint(2, 9), rng.randint(8, 40)
    text = (
        f"An arithmetic sequence starts {first}, {first + step}, {first + 2 * step}. "
        f"What is the sum of its first {count} terms?"
    )
    answer = sum(first + step * k for k in range(count))
    return problem(text, answer, f"Rational({count}*(2*({first})+({count}-1)*{step}),2)")


def percentage(rng: random.Random) -> Problem:
    base, up, down = rng.randint(2, 40) * 50, rng.randint(1, 9) * 10, rng.randint(1, 9) * 10
    text = f"A price of {base} rises by {up} percent and then falls by {down} percent. What is the final price?"
    answer = Fraction(base) * (100 + up) * (100 - down) / 10000
    return problem(text, answer, f"{base}*(1+Rational({up},100))*(1-Rational({down},100))")


# Level 5 ------------------------------------------------------------------------------------------------------------


def choose(rng: random.Random) -> Problem:
    women, men = rng.randint(3, 9), rng.randint(3, 9)
    size = rng.randint(2, 4)
    text = (
        f"A committee of {size} is chosen from {women} women and {men} men. "
        "How many committees have at least one woman and at least one man?"
    )
    answer = math.comb(women + men, size) - math.comb(women, size) - math.comb(men, size)
    return problem(text, answer, f"sum(binomial({women},i)*binomial({men},{size}-i) for i in range(1,{size}))")


def geometric_series(rng: random.Random) -> Problem:
    first, ratio, count = rng.randint(1, 6), rng.randint(2, 5), rng.randint(4, 8)
    shown = ", ".join(str(first * ratio**k) for k in range(3))
    text = f"What is the sum of the first {count} terms of the geometric sequence {shown}, \\dots?"
    answer = sum(first * ratio**k for k in range(count))
    return problem(text, answer, f"{first}*({ratio}**{count}-1)/({ratio}-1)")


def quadratic(rng: random.Random) -> Problem:
    p, q, a = rng.randint(-12, 12), rng.randint(-12, 12), rng.randint(1, 4)
    b, c = -a * (p + q), a * p * q
    text = f"Let r and s be the roots of {a}x^2 {_signed(b)}x {_signed(c)} = 0. What is r^2 + s^2?"
    return problem(text, p * p + q * q, f"Rational({b},{a})**2-2*Rational({c},{a})")


def modular_power(rng: random.Random) -> Problem:
    base, exponent, modulus = rng.randint(2, 50), rng.randint(20, 400), rng.randint(11, 101)
    text = f"What is the remainder when {base}^{{{exponent}}} is divided by {modulus}?"
    return problem(text, pow(base, exponent, modulus), f"Mod({base}**{exponent},{modulus})")


# Level 6 ------------------------------------------------------------------------------------------------------------


def paths(rng: random.Random) -> Problem:
    width, height = rng.randint(4, 9), rng.randint(4, 9)
    x, y = rng.randint(1, width - 1), rng.randint(1, height - 1)
    text = (
        f"How many shortest lattice paths lead from (0,0) to ({width},{height}) in steps right and up "
        f"without passing through ({x},{y})?"
    )
    through = f"binomial({x + y},{x})*binomial({width + height - x - y},{width - x})"
    return problem(text, _count_paths(width, height, (x, y)), f"binomial({width + height},{width})-{through}")


def _count_paths(width: int, height: int, blocked: tuple[int, int]) -> int:
    ways = {(0, 0): 1}
    for column in range(width + 1):
        for row in range(height + 1):
            if (column, row) == blocked:
                ways[column, row] = 0
            elif (column, row) != (0, 0):
                ways[column, row] = ways.get((column - 1, row), 0) + ways.get((column, row - 1), 0)
    return ways[width, height]


def polynomial_integral(rng: random.Random) -> Problem:
    a, b, c = nonzero(rng, 9), rng.randint(-9, 9), rng.randint(-9, 9)
    low = rng.randint(-3, 2)
    high = low + rng.randint(1, 4)
    text = f"Evaluate \\int_{{{low}}}^{{{high}}} ({a}x^2 {_signed(b)}x {_signed(c)}) \\, dx."
    answer = sum(
        (Fraction(k, n) * (Fraction(high) ** n - Fraction(low) ** n) for k, n in ((a, 3), (b, 2), (c, 1))), Fraction(0)
    )
    return problem(text, answer, f"integrate({a}*x**2+{b}*x+{c},(x,{low},{high}))")


def congruences(rng: random.Random) -> Problem:
    m, n, k = rng.sample([3, 5, 7, 11, 13, 17], 3)
    hidden = rng.randrange(m * n * k)
    text = (
        f"Find the smallest non-negative integer that leaves remainder {hidden % m} when divided by {m}, "
        f"{hidden % n} when divided by {n} and {hidden % k} when divided by {k}."
    )
    return problem(text, hidden, f"crt([{m},{n},{k}],[{hidden % m},{hidden % n},{hidden % k}])[0]")


def inclusion_exclusion(rng: random.Random) -> Problem:
    limit = rng.randint(200, 3000)
    a, b, c = rng.sample([2, 3, 5, 7, 11], 3)
    text = f"How many integers from 1 to {limit} are divisible by none of {a}, {b} and {c}?"
    answer = sum(1 for number in range(1, limit + 1) if number % a and number % b and number % c)
    singles = f"{limit}//{a}-{limit}//{b}-{limit}//{c}"
    pairs = f"{limit}//{a * b}+{limit}//{a * c}+{limit}//{b * c}"
    return problem(text, answer, f"{limit}-{singles}+{pairs}-{limit}//{a * b * c}")
