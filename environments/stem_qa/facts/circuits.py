"""Electric circuits."""

from __future__ import annotations

import random
from math import exp

from environments.stem_qa.choice import Fact
from environments.stem_qa.facts.motion import tenths


def ohm(rng: random.Random) -> Fact:
    volts, milliamperes = tenths(rng, 1.2, 48), rng.randint(12, 980)
    return Fact(
        f"{milliamperes} mA flow through a resistor at {volts} V. What is its resistance?",
        volts / milliamperes * 1000,
        "Ω",
        {"milliamperes for amperes": 1000.0, "multiplied": (milliamperes / 1000) ** 2},
        f"Rational('{volts}')/Rational({milliamperes},1000)",
    )


def power(rng: random.Random) -> Fact:
    volts, ohms = tenths(rng, 3, 60), rng.randint(12, 900)
    return Fact(
        f"What power does a resistor of {ohms} Ω take up at {volts} V?",
        volts**2 / ohms,
        "W",
        {
            "forgot the square": 1 / volts,
            "multiplied by the resistance": float(ohms) ** 2,
            "I²R with volts": ohms**2 / 1.0,
        },
        f"(Rational('{volts}')/{ohms})**2*{ohms}",
    )


def parallel(rng: random.Random) -> Fact:
    one, two, three = (rng.randint(11, 470) for _ in range(3))
    total = 1 / (1 / one + 1 / two + 1 / three)
    return Fact(
        f"Resistors of {one} Ω, {two} Ω and {three} Ω are connected in parallel. What is their total resistance?",
        total,
        "Ω",
        {
            "in series": (one + two + three) / total,
            "forgot the last inverse": 1 / total**2,
            "mean": (one + two + three) / 3 / total,
        },
        f"Rational({one}*{two}*{three},{one}*{two}+{two}*{three}+{one}*{three})",
    )


def energy_cost(rng: random.Random) -> Fact:
    watts, hours, days, cents = rng.randint(35, 2400), tenths(rng, 0.5, 9), rng.randint(5, 60), rng.randint(18, 45)
    return Fact(
        f"A device of {watts} W runs {hours} hours a day for {days} days. A kilowatt-hour costs {cents} cents. "
        "What is the price in euros?",
        watts / 1000 * hours * days * cents / 100,
        "euros",
        {"watts for kilowatts": 1000.0, "cents for euros": 100.0, "one day only": 1 / days},
        f"Rational({watts}*{days}*{cents},10**5)*Rational('{hours}')",
    )


def mixed(rng: random.Random) -> Fact:
    one, two, three = (rng.randint(11, 330) for _ in range(3))
    volts = tenths(rng, 3, 48)
    total = one + two * three / (two + three)
    return Fact(
        f"{one} Ω in series with a pair of {two} Ω and {three} Ω in parallel are connected to {volts} V. "
        "What current does the source deliver?",
        volts / total * 1000,
        "mA",
        {
            "all in series": total / (one + two + three),
            "all in parallel": total * (1 / one + 1 / two + 1 / three),
            "amperes for milliamperes": 1000.0,
        },
        f"1000*solve(Rational('{volts}')-x*{one}-x*Rational({two}*{three},{two}+{three}),x)[0]",
    )


def divider(rng: random.Random) -> Fact:
    upper, lower, load = rng.randint(12, 470), rng.randint(12, 470), rng.randint(150, 2200)
    volts = tenths(rng, 5, 60)
    loaded = lower * load / (lower + load)
    value = volts * loaded / (upper + loaded)
    return Fact(
        f"{volts} V lie across {upper} Ω and {lower} Ω in series; a load of {load} Ω is parallel to the {lower} Ω. "
        "What is the voltage across the load?",
        value,
        "V",
        {
            "forgot the load": volts * lower / (upper + lower) / value,
            "voltage across the other resistor": volts / value - 1,
            "load in series": volts * (lower + load) / (upper + lower + load) / value,
        },
        f"solve((Rational('{volts}')-x)/{upper}-x/{lower}-x/{load},x)[0]",
        limit=volts,
    )


def charging(rng: random.Random) -> Fact:
    kiloohms, microfarads, volts = rng.randint(11, 470), rng.randint(2, 220), tenths(rng, 3, 24)
    part = rng.randint(4, 22) / 10
    tau = kiloohms * microfarads / 1000
    seconds = round(part * tau, 3)
    value = volts * (1 - exp(-seconds / tau))
    return Fact(
        f"An empty capacitor of {microfarads} µF is charged through {kiloohms} kΩ from {volts} V. "
        f"What is its voltage after {seconds} s?",
        value,
        "V",
        {
            "discharging": volts * exp(-seconds / tau) / value,
            "linear rise": seconds / tau * volts / value,
            "base two": volts * (1 - 2 ** (-seconds / tau)) / value,
        },
        f"Rational('{volts}')*(1-exp(-Rational('{seconds}')*1000/({kiloohms}*{microfarads})))",
        limit=volts,
    )
