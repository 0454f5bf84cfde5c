"""Inverse instruction following: the user wants, for once, the unusual; habit is wrong."""

from __future__ import annotations

import random

from environments.multi_turn_if.dialogues.dialogue import Dialogue, Family, asides
from environments.multi_turn_if.items import Item

CITIES = {"France": "Paris", "Spain": "Madrid", "Italy": "Rome", "Norway": "Oslo", "Poland": "Warsaw", "Egypt": "Cairo",
          "Peru": "Lima", "Japan": "Tokyo", "Kenya": "Nairobi", "Cuba": "Havana", "Greece": "Athens"}  # fmt: skip
WORDS = ("garden", "window", "planet", "silver", "market", "bridge", "forest", "candle", "pepper", "island", "doctor",
         "monkey", "rocket", "basket", "velvet", "castle", "hammer", "winter", "thunder", "blanket")  # fmt: skip


def _last(rng: random.Random, level: int, asked: str, early: str = "") -> Dialogue:
    """The wish comes first and its object last, with small talk between, from level 1 on."""
    found = Dialogue()
    if level and early:
        found.user(early, "All right.")
    for question, answer in asides(rng, 2 * level - 1):
        found.user(question, answer + ".")
    found.user(asked if level else f"{early} {asked}".strip())
    return found


def backwards(rng: random.Random, level: int) -> Dialogue:
    """Words spelled from the last letter to the first."""
    chosen = rng.sample(WORDS, 1 + level // 2)
    wish = "When I say words, spell each of them backwards, one per line, nothing else."
    found = _last(rng, level, f"My words: {', '.join(chosen)}.", wish)
    return _lines(found, [word[::-1] for word in chosen])


def swapped(rng: random.Random, level: int) -> Dialogue:
    """First and last letter exchanged on purpose."""
    chosen = rng.sample(WORDS, 1 + level // 2)
    wish = "Misspell my words on purpose: exchange the first and the last letter; one per line, nothing else."
    found = _last(rng, level, f"The words are {', '.join(chosen)}.", wish)
    return _lines(found, [word[-1] + word[1:-1] + word[0] for word in chosen])


def not_listed(rng: random.Random, level: int) -> Dialogue:
    """The right answer is not among the options, and that is what has to be said."""
    countries = rng.sample(list(CITIES), 4 + level // 2)
    country, offered = countries[0], [CITIES[other] for other in countries[1:]]
    wish = "If the right answer is not among my options, answer with the single word NONE; otherwise with the option."
    listed = bool(rng.random() < 0.5)
    options = [CITIES[country], *offered[:-1]] if listed else offered
    found = _last(rng, level, f"Capital of {country}? Options: {', '.join(rng.sample(options, len(options)))}.", wish)
    answer = CITIES[country] if listed else "NONE"
    found.items = [Item("exact", answer, core=True)]
    found.best = answer
    return found


def countdown(rng: random.Random, level: int) -> Dialogue:
    """A list in falling order, where rising is the habit."""
    chosen = rng.sample(range(1, 100), 2 + level)
    wish = "Lists of numbers I want from the greatest to the smallest, one per line, nothing else."
    found = _last(rng, level, f"My numbers: {', '.join(map(str, chosen))}.", wish)
    return _lines(found, [str(number) for number in sorted(chosen, reverse=True)])


def _lines(found: Dialogue, lines: list[str]) -> Dialogue:
    found.items = [Item("lines", lines, core=True)]
    found.best = "\n".join(lines)
    return found


FAMILIES: dict[str, Family] = {
    "inverse_backwards": backwards,
    "inverse_swapped": swapped,
    "inverse_not_listed": not_listed,
    "inverse_countdown": countdown,
}
