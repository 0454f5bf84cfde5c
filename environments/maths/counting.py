"""Families of counting, chance, number theory and series."""

from __future__ import annotations

import math
import random
from fractions import Fraction

from environments.maths.problems import Problem, problem


def base_number(rng: random.Random) -> Problem:
    base = rng.randint(2, 9)
    shown = str(rng.randint(1, base - 1)) + "".join(str(rng.randrange(base)) for _ in range(rng.randint(3, 5)))
    text = f"The number {shown} is written in base {base}. What is it in base ten?"
    places = "+".join(f"{digit}*{base}**{place}" for place, digit in enumerate(reversed(shown)))
    return problem(text, int(shown, base), places)


def divisors_of(rng: random.Random) -> Problem:
    number = rng.choice([2, 3, 4, 6, 12]) * rng.randint(5, 120)
    found = [divisor for divisor in range(1, number + 1) if number % divisor == 0]
    if rng.random() < 0.5:
        return problem(f"How many positive divisors does {number} have?", len(found), f"divisor_count({number})")
    return problem(f"What is the sum of the positive divisors of {number}?", sum(found), f"divisor_sigma({number})")


def arrangements(rng: random.Random) -> Problem:
    letters = rng.sample("ABCDEFGHKLMNPRST", rng.randint(3, 5))
    times = [rng.choice([1, 1, 2, 3]) for _ in letters]
    shown = list("".join(letter * count for letter, count in zip(letters, times, strict=True)))
    rng.shuffle(shown)
    answer = math.factorial(len(shown))
    for count in times:
        answer //= math.factorial(count)
    left, factors = len(shown), []
    for count in times:
        factors.append(f"binomial({left},{count})")
        left -= count
    text = f"In how many different orders can the letters {', '.join(shown)} be written?"
    return problem(text, answer, "*".join(factors))


def squares(rng: random.Random) -> Problem:
    low, more = rng.randint(1, 20), rng.randint(4, 25)
    high = low + more
    power, name = rng.choice([(2, "squares"), (3, "cubes")])
    text = f"What is the sum of the {name} of the integers from {low} to {high}?"
    return problem(text, sum(k**power for k in range(low, high + 1)), f"summation(k**{power},(k,{low},{high}))")


def telescope(rng: random.Random) -> Problem:
    low, high, above = rng.randint(1, 12), rng.randint(15, 90), rng.randint(1, 9)
    text = f"What is \\sum_{{k={low}}}^{{{high}}} \\frac{{{above}}}{{k(k+1)}}?"
    answer = sum((Fraction(above, k * (k + 1)) for k in range(low, high + 1)), Fraction(0))
    return problem(text, answer, f"Rational({above},{low})-Rational({above},{high + 1})")


def draws(rng: random.Random) -> Problem:
    red, blue = rng.randint(3, 15), rng.randint(3, 15)
    text = (
        f"A bag holds {red} red and {blue} blue balls. Two are drawn without putting back. "
        "What is the probability that "
    )
    balls = [0] * red + [1] * blue
    pairs = [(one, other) for place, one in enumerate(balls) for other in balls[:place]]
    total = f"binomial({red + blue},2)"
    if rng.random() < 0.5:
        share = Fraction(sum(one != other for one, other in pairs), len(pairs))
        return problem(text + "they have different colours?", share, f"S({red})*{blue}/{total}")
    share = Fraction(sum(not one and not other for one, other in pairs), len(pairs))
    return problem(text + "both are red?", share, f"binomial({red},2)/{total}")


def infinite_series(rng: random.Random) -> Problem:
    below = rng.randint(2, 12)
    above = rng.choice([number for number in range(1 - below, below) if number])
    first = rng.randint(1, 30)
    ratio = Fraction(above, below)
    shown = ", ".join(_shown(first * ratio**k) for k in range(3))
    text = f"What is the sum of the infinite geometric series with the first terms {shown}?"
    return problem(text, first / (1 - ratio), f"Sum({first}*Rational({above},{below})**k,(k,0,oo)).doit()")


def trailing_zeros(rng: random.Random) -> Problem:
    number = rng.randint(30, 2000)
    base = rng.choice([10, 10, 6, 15, 14])
    largest = max(factor for factor in (2, 3, 5, 7) if base % factor == 0)
    answer, power = 0, largest
    while power <= number:
        answer += number // power
        power *= largest
    what = f"How many zeros does {number}! end with" + ("" if base == 10 else f" when it is written in base {base}")
    return problem(f"{what}?", answer, f"multiplicity({largest},factorial({number}))")


def coprime(rng: random.Random) -> Problem:
    number = rng.choice([6, 10, 12, 15, 30]) * rng.randint(4, 60)
    text = f"How many integers from 1 to {number} have no common divisor with {number} but 1?"
    answer = sum(math.gcd(k, number) == 1 for k in range(1, number + 1))
    return problem(text, answer, f"totient({number})")


def dice(rng: random.Random) -> Problem:
    count, faces = rng.randint(3, 5), rng.choice([4, 6, 8, 10])
    wanted = rng.randint(count + 3, count * faces - 3)
    ways = {0: 1}
    for _ in range(count):
        ways = {
            total: sum(ways.get(total - face, 0) for face in range(1, faces + 1))
            for total in range(max(ways) + faces + 1)
        }
    text = f"{count} different dice with faces 1 to {faces} are thrown. In how many ways is their sum {wanted}?"
    return problem(
        text, ways[wanted], f"Poly(sum(x**i for i in range(1,{faces + 1}))**{count},x).coeff_monomial(x**{wanted})"
    )


def _shown(value: Fraction) -> str:
    if value.denominator == 1:
        return str(value)
    sign = "-" if value < 0 else ""
    return f"{sign}\\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"
