"""Chemistry: a table of elements, formulas, reactions, solutions."""

from __future__ import annotations

import random
from math import log10

from environments.stem_qa.choice import Fact
from environments.stem_qa.facts.motion import tenths

# Symbol: name, atomic number, standard atomic weight in g/mol (IUPAC 2021, abridged to two or three decimals).
ELEMENTS: dict[str, tuple[str, int, float]] = {
    "H": ("hydrogen", 1, 1.008), "He": ("helium", 2, 4.003), "C": ("carbon", 6, 12.011), "N": ("nitrogen", 7, 14.007),
    "O": ("oxygen", 8, 15.999), "F": ("fluorine", 9, 18.998), "Ne": ("neon", 10, 20.180),
    "Na": ("sodium", 11, 22.990), "Mg": ("magnesium", 12, 24.305), "Al": ("aluminium", 13, 26.982),
    "Si": ("silicon", 14, 28.085), "P": ("phosphorus", 15, 30.974), "S": ("sulfur", 16, 32.06),
    "Cl": ("chlorine", 17, 35.45), "K": ("potassium", 19, 39.098), "Ca": ("calcium", 20, 40.078),
    "Ti": ("titanium", 22, 47.867), "Mn": ("manganese", 25, 54.938), "Fe": ("iron", 26, 55.845),
    "Cu": ("copper", 29, 63.546), "Zn": ("zinc", 30, 65.38), "Br": ("bromine", 35, 79.904),
    "Ag": ("silver", 47, 107.868), "I": ("iodine", 53, 126.904), "Ba": ("barium", 56, 137.327),
}  # fmt: skip
Formula = tuple[tuple[str, int], ...]
COMPOUNDS: tuple[Formula, ...] = (
    (("Na", 2), ("C", 1), ("O", 3)), (("Ca", 1), ("C", 1), ("O", 3)), (("H", 2), ("S", 1), ("O", 4)),
    (("H", 3), ("P", 1), ("O", 4)), (("K", 1), ("Mn", 1), ("O", 4)), (("Fe", 2), ("O", 3)), (("Al", 2), ("O", 3)),
    (("C", 6), ("H", 12), ("O", 6)), (("C", 2), ("H", 6), ("O", 1)), (("C", 3), ("H", 8)), (("N", 1), ("H", 3)),
    (("Ag", 1), ("N", 1), ("O", 3)), (("Ba", 1), ("Cl", 2)), (("Mg", 1), ("Cl", 2)), (("Ti", 1), ("O", 2)),
    (("C", 4), ("H", 10)), (("Cu", 1), ("S", 1), ("O", 4)), (("Zn", 1), ("Cl", 2)), (("K", 2), ("S", 1), ("O", 4)),
)  # fmt: skip
SALT_FORMERS = ("Na", "Mg", "Ca", "Ba", "Cu", "Zn")
"""Compounds of these are written with water of crystallisation now and then."""
WATER: Formula = (("H", 2), ("O", 1))
CARBON_DIOXIDE: Formula = (("C", 1), ("O", 2))
REACTIONS: tuple[tuple[str, tuple[int, Formula], tuple[int, Formula], tuple[int, Formula]], ...] = (
    ("2 H2 + O2 -> 2 H2O", (2, (("H", 2),)), (1, (("O", 2),)), (2, WATER)),
    ("N2 + 3 H2 -> 2 NH3", (1, (("N", 2),)), (3, (("H", 2),)), (2, (("N", 1), ("H", 3)))),
    ("4 Fe + 3 O2 -> 2 Fe2O3", (4, (("Fe", 1),)), (3, (("O", 2),)), (2, (("Fe", 2), ("O", 3)))),
    ("4 Al + 3 O2 -> 2 Al2O3", (4, (("Al", 1),)), (3, (("O", 2),)), (2, (("Al", 2), ("O", 3)))),
    ("C3H8 + 5 O2 -> 3 CO2 + 4 H2O", (1, (("C", 3), ("H", 8))), (5, (("O", 2),)), (3, CARBON_DIOXIDE)),
    ("CH4 + 2 O2 -> CO2 + 2 H2O", (1, (("C", 1), ("H", 4))), (2, (("O", 2),)), (2, WATER)),
    ("2 C4H10 + 13 O2 -> 8 CO2 + 10 H2O", (2, (("C", 4), ("H", 10))), (13, (("O", 2),)), (8, CARBON_DIOXIDE)),
    ("2 Na + Cl2 -> 2 NaCl", (2, (("Na", 1),)), (1, (("Cl", 2),)), (2, (("Na", 1), ("Cl", 1)))),
    ("2 Mg + O2 -> 2 MgO", (2, (("Mg", 1),)), (1, (("O", 2),)), (2, (("Mg", 1), ("O", 1)))),
)  # fmt: skip
IONS = (
    ("Na", 1), ("Mg", 2), ("Al", 3), ("K", 1), ("Ca", 2), ("Fe", 2), ("Fe", 3), ("Cu", 2), ("Zn", 2), ("Ag", 1),
    ("Ba", 2), ("Cl", -1), ("S", -2), ("O", -2), ("N", -3), ("P", -3), ("Br", -1), ("I", -1), ("F", -1),
)  # fmt: skip


def weight(formula: Formula) -> float:
    """Molar mass in g/mol."""
    return sum(ELEMENTS[symbol][2] * count for symbol, count in formula)


def written(formula: Formula) -> str:
    return "".join(symbol + (str(count) if count > 1 else "") for symbol, count in formula)


def summed(formula: Formula) -> str:
    """The molar mass as an expression."""
    return "(" + "+".join(f"{count}*Rational('{ELEMENTS[symbol][2]}')" for symbol, count in formula) + ")"


def given(*formulas: Formula) -> str:
    """The atomic weights that are needed."""
    symbols = dict.fromkeys(symbol for formula in formulas for symbol, _ in formula)
    return "Molar masses in g/mol: " + ", ".join(f"{symbol} {ELEMENTS[symbol][2]}" for symbol in symbols) + "."


def neutrons(rng: random.Random) -> Fact:
    symbol = rng.choice([symbol for symbol in ELEMENTS if symbol not in ("H", "He")])
    name, protons, mass = ELEMENTS[symbol]
    nucleons = round(mass) + rng.randint(-1, 6)
    return Fact(
        f"How many neutrons does a nucleus of {name}-{nucleons} have (atomic number {protons})?",
        nucleons - protons,
        "neutrons",
        {
            "protons for neutrons": float(protons - (nucleons - protons)) or 3.0,
            "mass number for neutrons": float(protons),
        },
        f"{nucleons}-{protons}",
        counted=True,
    )


def electrons(rng: random.Random) -> Fact:
    symbol, charge = rng.choice(IONS)
    name, protons, mass = ELEMENTS[symbol]
    nucleons = round(mass) + rng.randint(-1, 5)
    sign = "+" if charge > 0 else "-"
    return Fact(
        f"An ion of {name}-{nucleons} (atomic number {protons}) has a charge of {abs(charge)}{sign}. "
        "How many electrons does it have?",
        protons - charge,
        "electrons",
        {"charge with the wrong sign": 2.0 * abs(charge), "neutrons for protons": float(nucleons - 2 * protons) or 3.0},
        f"{protons}+({-charge})",
        counted=True,
    )


def moles(rng: random.Random) -> Fact:
    formula, grams = rng.choice(COMPOUNDS), tenths(rng, 3, 300)
    mass = weight(formula)
    return Fact(
        f"How many moles are {grams} g of {written(formula)} (molar mass {mass:.2f} g/mol)?",
        grams / round(mass, 2),
        "mol",
        {"multiplied": round(mass, 2) ** 2, "inverted quotient": (round(mass, 2) / grams) ** 2},
        f"Rational('{grams}')/Rational('{mass:.2f}')",
    )


def molar_mass(rng: random.Random) -> Fact:
    formula = rng.choice(COMPOUNDS)
    water = rng.choice((0, 2, 5, 6, 7, 10)) if formula[0][0] in SALT_FORMERS else 0
    total = weight(formula) + water * weight(WATER)
    shown = written(formula) + (f"·{water}H2O" if water else "")
    plain = sum(ELEMENTS[symbol][2] for symbol, _ in formula)
    errors = {"forgot the indices": plain / total}
    if water:
        errors["one water only"] = (weight(formula) + weight(WATER)) / total
        errors["forgot the water"] = weight(formula) / total
    return Fact(
        f"What is the molar mass of {shown}? {given(formula, *((WATER,) if water else ()))}",
        total,
        "g/mol",
        errors,
        f"{summed(formula)}+{water}*{summed(WATER)}",
        digits=4,
    )


def dilution(rng: random.Random) -> Fact:
    strong, volume, final = tenths(rng, 2, 12), rng.randint(5, 60), rng.randint(100, 900)
    return Fact(
        f"{volume} mL of a {strong} mol/L solution are made up to {final} mL with water. "
        "What is the new concentration?",
        strong * volume / final,
        "mol/L",
        {
            "water added to the volume": final / (final + volume),
            "inverted the volumes": (final / volume) ** 2,
            "final less initial volume": final / (final - volume),
        },
        f"solve(Rational('{strong}')*{volume}-x*{final},x)[0]",
    )


def molecules(rng: random.Random) -> Fact:
    formula, grams = rng.choice(COMPOUNDS), tenths(rng, 2, 90)
    symbol, count = rng.choice([part for part in formula if part[1] > 1])
    mass = weight(formula)
    return Fact(
        f"How many {ELEMENTS[symbol][0]} atoms are in {grams} g of {written(formula)}? {given(formula)} "
        "Take 6.022 × 10^23 per mole.",
        grams / mass * 6.022e23 * count,
        "atoms",
        {
            "forgot the index": float(count),
            "atomic weight for molar mass": mass / ELEMENTS[symbol][2],
            "multiplied by the molar mass": mass**2,
        },
        f"{count}*Rational('{grams}')/{summed(formula)}*Rational('6.022')*10**23",
    )


def product_mass(rng: random.Random) -> Fact:
    shown, (few, reactant), _, (many, product) = rng.choice(REACTIONS)
    grams = tenths(rng, 2, 90)
    made = grams / weight(reactant) * many / few * weight(product)
    errors = {
        "mole for mass ratio": weight(reactant) / weight(product),
        "inverted the molar masses": (weight(reactant) / weight(product)) ** 2,
    }
    if many != few:
        errors["forgot the coefficients"] = few / many
        errors["inverted the coefficients"] = (few / many) ** 2
    return Fact(
        f"{shown}. What mass of {written(product)} do {grams} g of {written(reactant)} give with enough of the other "
        f"reactant? {given(reactant, product)}",
        made,
        "g",
        errors,
        f"{summed(product)}*Rational({many},{few})*Rational('{grams}')/{summed(reactant)}",
    )


def limiting(rng: random.Random) -> Fact:
    shown, (few, one), (some, two), (many, product) = rng.choice(REACTIONS)
    grams, other = tenths(rng, 5, 60), tenths(rng, 5, 60)
    by_one, by_two = grams / weight(one) / few, other / weight(two) / some
    made = min(by_one, by_two) * many * weight(product)
    return Fact(
        f"{shown}. {grams} g of {written(one)} and {other} g of {written(two)} react as far as they can. "
        f"What mass of {written(product)} forms? {given(one, two, product)}",
        made,
        "g",
        {
            "reactant in excess": max(by_one, by_two) / min(by_one, by_two),
            "forgot the coefficient of the product": float(many) if many > 1 else 1.7,
            "mass of the reactants": (grams + other) / made,
        },
        f"Min(Rational('{grams}')/{summed(one)}/{few},Rational('{other}')/{summed(two)}/{some})*{many}*{summed(product)}",
    )


def acidity(rng: random.Random) -> Fact:
    grams, millilitres = tenths(rng, 0.5, 9), rng.randint(150, 900)
    mass = 56.105
    concentration = grams / mass / (millilitres / 1000)
    value = 14 + log10(concentration)
    return Fact(
        f"{grams} g of KOH (molar mass {mass} g/mol) are dissolved to {millilitres} mL at 25 °C. What is the pH?",
        value,
        "",
        {
            "pOH for pH": -log10(concentration) / value,
            "millilitres for litres": (14 + log10(grams / mass / millilitres)) / value,
            "forgot the molar mass": (14 + log10(grams / millilitres)) / value,
        },
        f"14+log(Rational('{grams}')/Rational('{mass}')*1000/{millilitres},10)",
        digits=4,
        limit=20.0,
    )
