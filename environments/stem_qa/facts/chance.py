"""Probability and statistics."""

from __future__ import annotations

import random
from math import comb

from environments.stem_qa.choice import Fact
from environments.stem_qa.facts.motion import tenths


def mean(rng: random.Random) -> Fact:
    values = [tenths(rng, 3, 40) for _ in range(rng.randint(5, 6))]
    ordered = sorted(values)
    average = sum(values) / len(values)
    middle = ordered[len(values) // 2]
    return Fact(
        f"What is the mean of {', '.join(map(str, values))}?",
        average,
        "",
        {
            "median for mean": middle / average if abs(middle / average - 1) > 0.01 else 1.2,
            "divided by one less": len(values) / (len(values) - 1),
            "mean of the extremes": (ordered[0] + ordered[-1]) / 2 / average
            if abs((ordered[0] + ordered[-1]) / 2 / average - 1) > 0.01
            else 0.85,
        },
        "(" + "+".join(f"Rational('{value}')" for value in values) + f")/{len(values)}",
        digits=4,
    )


def draw(rng: random.Random) -> Fact:
    red, blue, green = (rng.randint(3, 24) for _ in range(3))
    total = red + blue + green
    return Fact(
        f"A box holds {red} red, {blue} blue and {green} green balls. What is the probability, in percent, that a ball "
        "drawn at random is red?",
        100 * red / total,
        "%",
        {"odds for probability": total / (blue + green), "not red": (blue + green) / red, "one over the others": 0.5},
        f"100-Rational(100*{blue + green},{total})",
        limit=100.0,
    )


def two_draws(rng: random.Random) -> Fact:
    red, blue = rng.randint(4, 24), rng.randint(4, 24)
    total = red + blue
    value = 100 * red * (red - 1) / (total * (total - 1))
    return Fact(
        f"Two balls are drawn without replacement from {red} red and {blue} blue ones. What is the probability, in "
        "percent, that both are red?",
        value,
        "%",
        {
            "with replacement": red * (total - 1) / (total * (red - 1)),
            "first draw only": (total - 1) / (red - 1),
            "one order of two": 0.5,
        },
        f"100*binomial({red},2)/binomial({total},2)",
        limit=100.0,
    )


def variance(rng: random.Random) -> Fact:
    values = [rng.randint(2, 60) for _ in range(5)]
    average = sum(values) / 5
    squares = sum((value - average) ** 2 for value in values)
    if squares < 50:
        return variance(rng)
    return Fact(
        f"What is the sample variance (divisor n - 1) of {', '.join(map(str, values))}?",
        squares / 4,
        "",
        {"divided by n": 0.8, "forgot to divide": 4.0, "standard deviation": (squares / 4) ** -0.5},
        f"(Integer({sum(v * v for v in values)})-Rational({sum(values)}**2,5))/4",
        digits=4,
    )


def binomial(rng: random.Random) -> Fact:
    trials, wanted, percent = rng.randint(5, 12), rng.randint(1, 4), rng.randint(12, 70)
    p = percent / 100
    value = 100 * comb(trials, wanted) * p**wanted * (1 - p) ** (trials - wanted)
    if value < 1:
        return binomial(rng)
    return Fact(
        f"A seed germinates with a probability of {percent} %. What is the probability, in percent, that exactly "
        f"{wanted} of {trials} seeds germinate?",
        value,
        "%",
        {
            "forgot the arrangements": 1 / comb(trials, wanted),
            "forgot the failures": (1 - p) ** (wanted - trials),
            "swapped success and failure": (p / (1 - p)) ** (trials - 2 * wanted)
            if percent != 50 and trials != 2 * wanted
            else 1.3,
        },
        f"100*binomial({trials},{trials - wanted})*Rational({percent},100)**{wanted}"
        f"*Rational({100 - percent},100)**{trials - wanted}",
        limit=100.0,
    )


def diagnosis(rng: random.Random) -> Fact:
    ill, sensitivity, specificity = rng.randint(5, 90), rng.randint(80, 99), rng.randint(80, 98)
    true = ill * sensitivity / 100
    false = (1000 - ill) * (100 - specificity) / 100
    value = 100 * true / (true + false)
    return Fact(
        f"{ill} of 1000 people have a disease. A test finds {sensitivity} % of the ill and wrongly flags "
        f"{100 - specificity} % of the healthy. With what probability, in percent, is a flagged person ill?",
        value,
        "%",
        {
            "sensitivity for predictive value": sensitivity / value,
            "swapped ill and flagged": (1 - specificity / 100) * 100 / value,
            "false for true positives": false / true,
        },
        f"100/(1+Rational((1000-{ill})*{100 - specificity},{ill}*{sensitivity}))",
        limit=100.0,
    )
