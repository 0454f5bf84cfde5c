"""Waves, heat, pressure, gases, radioactivity."""

from __future__ import annotations

import random

from environments.stem_qa.choice import Fact
from environments.stem_qa.facts.motion import tenths

SUBSTANCES = (("water", 4186), ("ethanol", 2440), ("olive oil", 1970), ("glycerol", 2430), ("sea water", 3990))
ISOTOPES = (
    ("cobalt-60", 5.27, "years"), ("iodine-131", 8.02, "days"), ("radon-222", 3.82, "days"),
    ("caesium-137", 30.1, "years"), ("phosphorus-32", 14.3, "days"), ("technetium-99m", 6.01, "hours"),
)  # fmt: skip


def wave(rng: random.Random) -> Fact:
    frequency, centimetres = tenths(rng, 1.2, 48), rng.randint(12, 480)
    return Fact(
        f"A wave has a frequency of {frequency} Hz and a wavelength of {centimetres} cm. What is its speed?",
        frequency * centimetres / 100,
        "m/s",
        {"centimetres for metres": 100.0, "divided by the frequency": frequency**2},
        f"Rational('{frequency}')*{centimetres}/100",
    )


def density(rng: random.Random) -> Fact:
    grams, millilitres = rng.randint(110, 990), rng.randint(31, 240)
    return Fact(
        f"A stone of {grams} g displaces {millilitres} mL of water. What is its density in kg/m³?",
        grams / millilitres * 1000,
        "kg/m³",
        {"g/mL for kg/m³": 1000.0, "inverted quotient": (grams / millilitres) ** 2},
        f"Rational({grams},1000)/Rational({millilitres},10**6)",
    )


def heating(rng: random.Random) -> Fact:
    name, capacity = rng.choice(SUBSTANCES)
    mass, low, rise = tenths(rng, 0.3, 9), rng.randint(5, 30), rng.randint(11, 60)
    return Fact(
        f"How much heat warms {mass} kg of {name} (specific heat {capacity} J/(kg K)) "
        f"from {low} °C to {low + rise} °C?",
        mass * capacity * rise / 1000,
        "kJ",
        {"final temperature for the rise": (low + rise) / rise, "kelvin for the rise": (low + rise + 273) / rise,
         "J for kJ": 1000.0},
        f"Rational('{mass}')*{capacity}*({low + rise}-{low})/1000",
    )  # fmt: skip


def pressure(rng: random.Random) -> Fact:
    depth, density = tenths(rng, 2, 90), rng.randint(790, 1260)
    return Fact(
        f"What is the absolute pressure {depth} m below the surface of a liquid of {density} kg/m³, "
        "with 101.3 kPa at the surface? Take g = 9.81 m/s².",
        101.3 + density * 9.81 * depth / 1000,
        "kPa",
        {
            "forgot the air": density * 9.81 * depth / 1000 / (101.3 + density * 9.81 * depth / 1000),
            "water for the liquid": (101.3 + 9.81 * depth) / (101.3 + density * 9.81 * depth / 1000)
            if density != 1000
            else 1.3,
        },
        f"Rational('101.3')+{density}*Rational('9.81')*Rational('{depth}')/1000",
    )


def half_life(rng: random.Random) -> Fact:
    name, life, unit = rng.choice(ISOTOPES)
    count, start = rng.randint(2, 6), rng.randint(120, 990)
    return Fact(
        f"{name.capitalize()} has a half-life of {life} {unit}. What is left of {start} mg after "
        f"{round(life * count, 2)} {unit}?",
        start / 2**count,
        "mg",
        {"one half-life too many": 2.0, "divided by the number of half-lives": 2**count / count,
         "decayed for left": 2**count - 1.0},
        f"Rational({start})*Rational(1,2)**{count}",
    )  # fmt: skip


def mixing(rng: random.Random) -> Fact:
    hot, cold = rng.randint(55, 95), rng.randint(6, 25)
    one, two = tenths(rng, 0.3, 5), tenths(rng, 0.3, 5)
    name, capacity = rng.choice(SUBSTANCES[1:])
    final = (one * 4186 * hot + two * capacity * cold) / (one * 4186 + two * capacity)
    return Fact(
        f"{one} kg of water (4186 J/(kg K)) at {hot} °C and {two} kg of {name} ({capacity} J/(kg K)) at {cold} °C "
        "come to a common temperature in an insulated vessel. What is it?",
        final,
        "°C",
        {
            "same specific heat": (one * hot + two * cold) / (one + two) / final,
            "swapped the masses": (two * 4186 * hot + one * capacity * cold) / (two * 4186 + one * capacity) / final
            if one != two
            else 1.07,
            "plain mean": (hot + cold) / 2 / final,
        },
        f"solve(Rational('{one}')*4186*({hot}-x)-Rational('{two}')*{capacity}*(x-{cold}),x)[0]",
    )


def gas(rng: random.Random) -> Fact:
    litres, low, high = tenths(rng, 1.5, 40), rng.randint(5, 25), rng.randint(60, 180)
    before, after = rng.randint(95, 140), rng.randint(160, 400)
    ratio = before / after * (high + 273.15) / (low + 273.15)
    return Fact(
        f"{litres} L of a gas at {low} °C and {before} kPa are brought to {high} °C and {after} kPa. "
        "What is the new volume?",
        litres * ratio,
        "L",
        {
            "degrees Celsius for kelvin": high / low / ((high + 273.15) / (low + 273.15)),
            "inverted the pressures": (after / before) ** 2,
            "inverted the temperatures": ((low + 273.15) / (high + 273.15)) ** 2,
            "forgot the temperature": (low + 273.15) / (high + 273.15),
        },
        f"solve({before}*Rational('{litres}')/Rational('{low + 273.15:.2f}')"
        f"-{after}*x/Rational('{high + 273.15:.2f}'),x)[0]",
    )


def decay_chain(rng: random.Random) -> Fact:
    mass, charge = rng.randint(218, 244), rng.randint(86, 96)
    alphas, betas = rng.randint(2, 7), rng.randint(1, 5)
    return Fact(
        f"A nucleus with mass number {mass} and atomic number {charge} emits {alphas} alpha and {betas} beta-minus "
        "particles one after another. How many neutrons does the final nucleus have?",
        (mass - charge) - 2 * alphas - betas,
        "neutrons",
        {
            "beta raises the neutrons": 2.0 * betas,
            "four neutrons for an alpha": 2.0 * alphas,
            "forgot beta": 1.0 * betas,
        },
        f"({mass}-4*{alphas})-({charge}-2*{alphas}+{betas})",
        counted=True,
    )
