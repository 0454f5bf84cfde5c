"""Biology and genetics."""

from __future__ import annotations

import random

from environments.stem_qa.choice import Fact
from environments.stem_qa.facts.motion import tenths

TRAITS = ("white flowers", "short wings", "wrinkled seeds", "pale fur", "curled leaves", "smooth shells")


def doubling(rng: random.Random) -> Fact:
    start, minutes, count = rng.randint(12, 480), rng.choice((15, 20, 25, 30, 40)), rng.randint(3, 9)
    return Fact(
        f"A culture of {start} cells doubles every {minutes} minutes. How many cells are there after "
        f"{minutes * count} minutes?",
        start * 2**count,
        "cells",
        {"factor four a doubling": 2.0**count, "times the number of doublings": 2 * count / 2**count,
         "one doubling missed": 0.5},
        f"{start}*4**Rational({count},2)",
    )  # fmt: skip


def codons(rng: random.Random) -> Fact:
    acids = rng.randint(31, 420)
    return Fact(
        f"How many bases has the coding sequence of a protein of {acids} amino acids, with its stop codon?",
        3 * acids + 3,
        "bases",
        {"forgot the stop codon": 3.0, "one base short": 1.0, "both strands": 3.0 * acids + 3},
        f"({acids}+1)*3",
        counted=True,
    )


def recessive(rng: random.Random) -> Fact:
    count, trait = rng.randint(41, 990) * 4, rng.choice(TRAITS)
    return Fact(
        f"Two heterozygous parents have {count} offspring; {trait} are recessive. How many of them are expected to "
        f"have {trait}?",
        count / 4,
        "offspring",
        {"dominant for recessive": 3.0, "heterozygous share": 2.0, "one test cross": 4 / 3},
        f"{count}*Rational(1,2)**2",
        digits=4,
        limit=float(count),
    )


def base_pairs(rng: random.Random) -> Fact:
    adenine, total = rng.randint(11, 39), rng.randint(12, 980) * 100
    return Fact(
        f"{adenine} % of the bases of a double-stranded DNA of {total} bases are adenine. How many are guanine?",
        total * (50 - adenine) / 100,
        "bases",
        {
            "thymine for guanine": adenine / (50 - adenine) if adenine != 25 else 1.7,
            "all that is not adenine": (100 - adenine) / (50 - adenine),
            "guanine and cytosine": 2.0,
        },
        f"Rational({total},2)-Rational({adenine}*{total},100)",
        limit=float(total),
    )


def colonies(rng: random.Random) -> Fact:
    count, steps, microlitres = rng.randint(31, 280), rng.randint(3, 6), rng.choice((50, 100, 200, 250))
    return Fact(
        f"{microlitres} µL of a {steps}-fold serial 1:10 dilution are plated and give {count} colonies. "
        "How many colony-forming units per mL had the original sample?",
        count * 10**steps * 1000 / microlitres,
        "CFU/mL",
        {
            "one dilution too many": 10.0,
            "forgot the plated volume": microlitres / 1000,
            "multiplied by the volume": (microlitres / 1000) ** 2,
        },
        f"{count}/(Rational({microlitres},1000)*Rational(1,10)**{steps})",
    )


def dihybrid(rng: random.Random) -> Fact:
    count = rng.randint(11, 290) * 16
    one, two = rng.sample(TRAITS, 2)
    share, wording = rng.choice(
        ((1, f"both {one} and {two}"), (3, f"{one} but not {two}"), (9, f"neither {one} nor {two}"))
    )
    return Fact(
        f"Both parents are heterozygous for two unlinked genes; {one} and {two} are recessive. Of {count} offspring, "
        f"how many are expected to have {wording}?",
        count * share / 16,
        "offspring",
        {"other class of 9:3:3:1": 3.0, "one gene only": 4.0 if share < 9 else 4 / 3, "linked genes": 2.5},
        f"{count}*Rational(3,4)**{ {1: 0, 3: 1, 9: 2}[share] }*Rational(1,4)**{ {1: 2, 3: 1, 9: 0}[share] }",
        digits=4,
        limit=float(count),
    )


def carriers(rng: random.Random) -> Fact:
    affected, people = rng.randint(4, 90), rng.choice((10_000, 20_000, 40_000, 50_000, 100_000))
    q = (affected / people) ** 0.5
    return Fact(
        f"{affected} of {people} newborns have a recessive disease. How many of {people} are carriers under "
        "Hardy-Weinberg equilibrium?",
        2 * (1 - q) * q * people,
        "carriers",
        {"forgot the factor two": 2.0, "allele for genotype": 2 * (1 - q), "frequency without the root": q},
        f"{people}-{affected}-{people}*(1-sqrt(Rational({affected},{people})))**2",
        limit=float(people),
    )


def second_generation(rng: random.Random) -> Fact:
    count, rounds = rng.randint(120, 990), rng.randint(3, 5)
    value = count * (1 - 0.5**rounds)
    return Fact(
        f"A heterozygous plant is selfed for {rounds} generations without selection. How many of {count} plants of the "
        "last generation are expected to be homozygous?",
        value,
        "plants",
        {
            "heterozygous for homozygous": 1 / (2**rounds - 1),
            "one allele only": 2.0,
            "one generation more": (1 - 0.5 ** (rounds + 1)) / (1 - 0.5**rounds),
            "linear approach": rounds / 8 / (1 - 0.5**rounds),
        },
        f"{count}-{count}*Rational(1,2)**{rounds}",
    )


def breath(rng: random.Random) -> Fact:
    rate, millilitres, dead = rng.randint(10, 24), rng.randint(380, 720), rng.randint(110, 190)
    value = rate * (millilitres - dead) / 1000
    return Fact(
        f"Somebody takes {rate} breaths a minute of {millilitres} mL each; the dead space is {dead} mL. "
        "What is the alveolar ventilation?",
        value,
        "L/min",
        {
            "forgot the dead space": millilitres / (millilitres - dead),
            "added the dead space": (millilitres + dead) / (millilitres - dead),
        },
        f"Rational({rate}*{millilitres}-{rate}*{dead},1000)",
    )


def cardiac(rng: random.Random) -> Fact:
    beats, volume, surface = rng.randint(52, 110), rng.randint(48, 98), tenths(rng, 1.4, 2.3)
    return Fact(
        f"A heart beats {beats} times a minute with a stroke volume of {volume} mL; the body surface is {surface} m². "
        "What is the cardiac index?",
        beats * volume / 1000 / surface,
        "L/(min m²)",
        {"output for index": surface, "multiplied by the surface": surface**2, "millilitres for litres": 1000.0},
        f"Rational({beats}*{volume},1000)/Rational('{surface}')",
    )
