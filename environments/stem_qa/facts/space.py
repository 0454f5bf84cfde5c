"""Astronomy."""

from __future__ import annotations

import random
from math import pi

from environments.stem_qa.choice import Fact
from environments.stem_qa.facts.motion import tenths


def light_time(rng: random.Random) -> Fact:
    units = rng.randint(31, 980) / 10
    return Fact(
        f"How long does light take from the Sun to a body {units} au away (1 au = 1.496 × 10^8 km, "
        "c = 2.998 × 10^5 km/s)?",
        units * 1.496e8 / 2.998e5 / 60,
        "minutes",
        {"seconds for minutes": 60.0, "there and back": 2.0},
        f"Rational('{units}')*Rational('1.496')*10**8/(Rational('2.998')*10**5)/60",
    )


def parallax(rng: random.Random) -> Fact:
    milli = rng.randint(11, 480)
    return Fact(
        f"A star has a parallax of {milli} milliarcseconds. What is its distance in light-years "
        "(1 parsec = 3.262 light-years)?",
        1000 / milli * 3.262,
        "light-years",
        {"parsec for light-years": 3.262, "half the parallax angle": 2.0, "multiplied": (milli / 1000) ** 2},
        f"Rational('3.262')/Rational({milli},1000)",
    )


def kepler(rng: random.Random) -> Fact:
    axis = tenths(rng, 1.3, 38)
    return Fact(
        f"A planet orbits a star like the Sun with a semi-major axis of {axis} au. What is its period in years?",
        axis**1.5,
        "years",
        {"exponents swapped": axis ** (2 / 3 - 1.5), "forgot the root": axis**1.5, "proportional": axis**-0.5},
        f"sqrt(Rational('{axis}')**3)",
    )


def weight(rng: random.Random) -> Fact:
    kilograms, mass, radius = rng.randint(45, 120), tenths(rng, 0.2, 9), tenths(rng, 1.2, 4)
    return Fact(
        f"A planet has {mass} times the mass and {radius} times the radius of the Earth. What is the weight of "
        f"{kilograms} kg on its surface (Earth: g = 9.81 m/s²)?",
        kilograms * 9.81 * mass / radius**2,
        "N",
        {"forgot the square": radius, "forgot the radius": radius**2,
         "kilograms for newtons": 9.81},
        f"{kilograms}*Rational('9.81')*Rational('{mass}')/Rational('{radius}')/Rational('{radius}')",
    )  # fmt: skip


def luminosity(rng: random.Random) -> Fact:
    radius, kelvin = tenths(rng, 1.3, 30), rng.randint(31, 220) * 100
    value = radius**2 * (kelvin / 5772) ** 4
    return Fact(
        f"A star has {radius} times the radius of the Sun and a surface temperature of {kelvin} K (Sun: 5772 K). "
        "How many times as luminous as the Sun is it?",
        value,
        "times",
        {
            "forgot the square of the radius": radius,
            "square for fourth power": (kelvin / 5772) ** 2,
            "radius to the fourth power": radius**2,
        },
        f"(Rational('{radius}')*Rational({kelvin},5772)**2)**2",
    )


def orbit_speed(rng: random.Random) -> Fact:
    height = rng.randint(210, 2900)
    radius = 6371 + height
    value = (398_600 / radius) ** 0.5
    return Fact(
        f"What is the speed of a satellite in a circular orbit {height} km above the Earth's surface "
        "(radius 6371 km, GM = 398600 km³/s²)?",
        value,
        "km/s",
        {
            "height for radius": (radius / height) ** 0.5,
            "escape speed": 2**0.5,
            "forgot the root": value,
            "circumference": 2 * pi,
        },
        f"sqrt(Rational(398600,6371+{height}))",
    )
