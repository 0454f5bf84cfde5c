"""What documents are about: nouns, measured columns and the facts of groups."""

from __future__ import annotations

import random
from dataclasses import dataclass

CONSONANTS = ("b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z", "br", "tr", "st", "kl")
VOWELS = ("a", "e", "i", "o", "u", "ei", "au")


@dataclass(slots=True, frozen=True)
class Column:
    """A measured quantity: numbers from `low` to `high` in units of its last decimal."""

    name: str
    unit: str
    low: int
    high: int
    decimals: int = 0

    def draw(self, rng: random.Random) -> int:
        return rng.randint(self.low, self.high)

    def number(self, value: int) -> str:
        """`71` with one decimal is `7.1`."""
        if not self.decimals:
            return str(value)
        sign, digits = "-" if value < 0 else "", str(abs(value)).rjust(self.decimals + 1, "0")
        return f"{sign}{digits[: -self.decimals]}.{digits[-self.decimals :]}"

    def written(self, value: int) -> str:
        return f"{self.number(value)} {self.unit}".strip()


@dataclass(slots=True, frozen=True)
class Theme:
    """`subject` is what a row is, `group` what rows belong to; `verb` joins the two (`was taken at`)."""

    title: str
    subject: str
    group: str
    verb: str
    letters: str
    columns: tuple[Column, ...]
    traits: tuple[Column, ...]


THEMES = (
    Theme("Soil survey", "sample", "plot", "was taken from", "KSB", (
        Column("pH value", "", 41, 89, 1), Column("nitrate content", "mg/kg", 110, 990),
        Column("water content", "%", 61, 489, 1), Column("sampling depth", "cm", 12, 240),
        Column("grain size", "µm", 105, 980), Column("organic carbon", "g/kg", 31, 690, 1),
    ), (Column("altitude", "m", 112, 998), Column("area", "ha", 11, 96))),
    Theme("Alloy tests", "specimen", "batch", "was cast in", "AMX", (
        Column("tensile strength", "MPa", 210, 990), Column("hardness", "HV", 85, 610),
        Column("elongation", "%", 21, 399, 1), Column("copper content", "%", 105, 980, 2),
        Column("grain diameter", "µm", 12, 190), Column("density", "g/cm³", 251, 899, 2),
    ), (Column("casting temperature", "°C", 640, 990), Column("cooling time", "min", 12, 95))),
    Theme("River monitoring", "reading", "station", "was made at", "RWQ", (
        Column("discharge", "m³/s", 101, 989, 1), Column("temperature", "°C", 21, 239, 1),
        Column("oxygen content", "mg/L", 310, 1290, 2), Column("turbidity", "NTU", 11, 480),
        Column("conductivity", "µS/cm", 105, 980), Column("chloride content", "mg/L", 12, 240),
    ), (Column("catchment area", "km²", 105, 990), Column("bed width", "m", 11, 98))),
    Theme("Pump comparison", "pump", "series", "belongs to", "PTV", (
        Column("flow rate", "L/min", 105, 980), Column("head", "m", 11, 98), Column("power input", "W", 150, 990),
        Column("noise level", "dB", 381, 799, 1), Column("efficiency", "%", 310, 890, 1),
        Column("mass", "kg", 21, 389, 1),
    ), (Column("warranty", "months", 12, 96), Column("inlet diameter", "mm", 15, 120))),
    Theme("Crystal growth", "run", "reactor", "was carried out in", "CGN", (
        Column("furnace temperature", "°C", 410, 990), Column("growth rate", "µm/h", 11, 480),
        Column("yield", "%", 210, 979, 1), Column("pressure", "kPa", 105, 980), Column("duration", "h", 11, 96),
        Column("seed mass", "mg", 12, 240),
    ), (Column("chamber volume", "L", 11, 98), Column("heating power", "W", 310, 990))),
    Theme("Enzyme assays", "assay", "protocol", "followed", "EFL", (
        Column("substrate concentration", "mmol/L", 105, 980, 2), Column("incubation temperature", "°C", 201, 689, 1),
        Column("reaction rate", "µmol/min", 110, 990, 1), Column("enzyme volume", "µL", 11, 240),
        Column("incubation time", "s", 105, 980), Column("absorbance", "mAU", 110, 990),
    ), (Column("buffer strength", "mmol/L", 12, 190), Column("shaking speed", "rpm", 110, 990))),
    Theme("Greenhouse trial", "plant", "bench", "stood on", "GHJ", (
        Column("height", "mm", 210, 990), Column("leaf count", "leaves", 11, 98), Column("fruit mass", "g", 105, 980),
        Column("stem diameter", "mm", 31, 299, 1), Column("water use", "mL", 110, 990),
        Column("root depth", "mm", 31, 480),
    ), (Column("light level", "klx", 11, 98), Column("carbon dioxide level", "ppm", 410, 990))),
)  # fmt: skip
