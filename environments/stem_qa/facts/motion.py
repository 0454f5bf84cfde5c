"""Mechanics."""

from __future__ import annotations

import random
from math import cos, radians, sin

from environments.stem_qa.choice import Fact

G = 9.81
TAKE_G = "Take g = 9.81 m/s²."


def tenths(rng: random.Random, low: float, high: float) -> float:
    """A number with one decimal."""
    return rng.randint(round(low * 10), round(high * 10)) / 10


def speed(rng: random.Random) -> Fact:
    km, minutes = tenths(rng, 2, 90), rng.randint(7, 95)
    return Fact(
        f"A drone covers {km} km in {minutes} minutes at constant speed. What is its speed in m/s?",
        km * 1000 / (minutes * 60),
        "m/s",
        {"km/h for m/s": 3.6, "minutes for seconds": 60.0, "inverted quotient": (minutes * 60 / (km * 1000)) ** 2},
        f"Rational('{km}')*50/(3*{minutes})",
    )


def force(rng: random.Random) -> Fact:
    grams, acceleration = rng.randint(120, 990), tenths(rng, 1.2, 9)
    return Fact(
        f"A cart of {grams} g is accelerated at {acceleration} m/s². What is the net force on it?",
        grams / 1000 * acceleration,
        "N",
        {"grams for kilograms": 1000.0, "weight in place of net force": G / acceleration},
        f"Rational({grams},1000)*Rational('{acceleration}')",
    )


def kinetic_energy(rng: random.Random) -> Fact:
    mass, velocity = tenths(rng, 1.1, 80), tenths(rng, 2.2, 35)
    return Fact(
        f"What is the kinetic energy of a body of {mass} kg that moves at {velocity} m/s?",
        0.5 * mass * velocity**2,
        "J",
        {"forgot the square": 1 / velocity, "forgot the half": 2.0, "squared the mass too": mass},
        f"Integral(Rational('{mass}')*t,(t,0,Rational('{velocity}'))).doit()",
    )


def braking(rng: random.Random) -> Fact:
    kmh, deceleration = rng.randint(31, 129), tenths(rng, 2.1, 7.9)
    return Fact(
        f"A car at {kmh} km/h brakes at a constant {deceleration} m/s². How long is its way to a stop?",
        (kmh / 3.6) ** 2 / (2 * deceleration),
        "m",
        {"km/h for m/s": 3.6**2, "forgot the factor two": 2.0, "forgot the square": 3.6 / kmh},
        f"Rational({kmh}*5,18)*(Rational({kmh}*5,18)/Rational('{deceleration}'))/2",
    )


def collision(rng: random.Random) -> Fact:
    one, two, velocity = tenths(rng, 0.4, 9), tenths(rng, 0.4, 9), tenths(rng, 1.1, 12)
    return Fact(
        f"A glider of {one} kg at {velocity} m/s hits a resting one of {two} kg and sticks to it. "
        "What is their common speed?",
        one * velocity / (one + two),
        "m/s",
        {
            "swapped the masses": two / one if one != two else 3.0,
            "divided by the mass at rest": (one + two) / two,
            "kept kinetic energy": ((one + two) / one) ** 0.5,
        },
        f"solve(Rational('{one}')*(Rational('{velocity}')-x)-Rational('{two}')*x,x)[0]",
    )


def slope(rng: random.Random) -> Fact:
    mass, angle, length = tenths(rng, 2, 40), rng.randint(21, 64), tenths(rng, 1.5, 12)
    friction = rng.randint(5, 29) / 100
    pull = sin(radians(angle)) - friction * cos(radians(angle))
    return Fact(
        f"A crate of {mass} kg slides from rest down a slope of {angle}° that is {length} m long; the coefficient of "
        f"friction is {friction}. {TAKE_G} What is its speed at the bottom?",
        (2 * G * length * pull) ** 0.5,
        "m/s",
        {
            "forgot friction": (sin(radians(angle)) / pull) ** 0.5,
            "forgot the factor two": 2**0.5,
            "forgot the root": (2 * G * length * pull) ** 0.5,
            "mass under the root": mass**0.5,
        },
        f"sqrt(2*Rational('9.81')*Rational('{length}')*(sin({angle}*pi/180)-Rational('{friction}')*cos({angle}*pi/180)))",
    )


def projectile(rng: random.Random) -> Fact:
    height, velocity = tenths(rng, 2, 60), tenths(rng, 3, 30)
    fall = (2 * height / G) ** 0.5
    return Fact(
        f"A ball leaves the edge of a roof {height} m above the ground horizontally at {velocity} m/s. {TAKE_G} "
        "How far from the foot of the wall does it land (no air drag)?",
        velocity * fall,
        "m",
        {
            "forgot the factor two": 2**0.5,
            "forgot the root": fall,
            "divided by the speed": velocity**2,
        },
        f"Rational('{velocity}')*solve(Rational('{height}')-Rational('9.81')*x**2/2,x)[1]",
    )
