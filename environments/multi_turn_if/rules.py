"""Rules that a conversation lays down once and every later answer has to keep."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from environments.multi_turn_if.items import Item, words

PHRASES = ("Over.", "Roger.", "Best wishes.", "So it is.", "Yours truly.", "Done here.", "End of message.", "Ask away.")
NAMES = ("Captain", "Doctor", "Professor", "Chief", "Friend", "Neighbour", "Colleague", "Traveller")
AVOIDED = ("the", "it", "is", "of", "you", "answer", "that")


@dataclass(frozen=True, slots=True)
class Rule:
    """A kind of rule and its value: what is said, what is checked, and what an answer looks like that keeps it."""

    kind: str
    value: str

    @property
    def said(self) -> str:
        return KINDS[self.kind].said.format(self.value)

    @property
    def item(self) -> Item:
        return Item(self.kind, self.value)

    def applied(self, answer: str) -> str:
        return KINDS[self.kind].apply(answer, self.value)


@dataclass(frozen=True, slots=True)
class Kind:
    said: str
    draw: Callable[[random.Random], str]
    apply: Callable[[str, str], str]


KINDS: dict[str, Kind] = {
    "starts": Kind(
        "begin every answer with the word {}", lambda rng: rng.choice(NAMES), lambda answer, value: f"{value}: {answer}"
    ),
    "ends": Kind(
        "end every answer with: {}", lambda rng: rng.choice(PHRASES), lambda answer, value: f"{answer} {value}"
    ),
    "without": Kind("never use the word {}", lambda rng: rng.choice(AVOIDED), lambda answer, value: answer),
    "no_comma": Kind("never write any {}", lambda rng: "commas", lambda answer, value: answer.replace(",", "")),
    "upper": Kind("write only {} letters", lambda rng: "capital", lambda answer, value: answer.upper()),
    "at_most": Kind("never use more than {} words", lambda rng: str(rng.randint(12, 20)), lambda answer, value: answer),
}
ORDER = ("starts", "ends", "without", "no_comma", "upper", "at_most")
"""In which rules are applied to an answer."""


def draw(rng: random.Random, count: int, first: str = "") -> list[Rule]:
    """So many different rules that one short answer can keep together, `first` among them."""
    kinds = [first] if first else []
    kinds += rng.sample([kind for kind in ORDER if kind not in kinds], count - len(kinds))
    rules = [Rule(kind, KINDS[kind].draw(rng)) for kind in sorted(kinds, key=ORDER.index)]
    return _consistent(rng, rules)


def redrawn(rng: random.Random, rules: list[Rule], kind: str) -> list[Rule]:
    """The rules with another value for one of them."""
    old = next(rule for rule in rules if rule.kind == kind)
    while (value := KINDS[kind].draw(rng)) == old.value:
        continue
    return _consistent(rng, [Rule(kind, value) if rule is old else rule for rule in rules])


def _consistent(rng: random.Random, rules: list[Rule]) -> list[Rule]:
    """A forbidden word that another rule asks for is exchanged."""
    wanted = {word for rule in rules if rule.kind in ("starts", "ends") for word in words(rule.value)}
    free = [word for word in AVOIDED if word not in wanted]
    return [
        Rule("without", rng.choice(free)) if rule.kind == "without" and rule.value in wanted else rule for rule in rules
    ]


def keep(rules: list[Rule], answer: str) -> str:
    """The answer, short and without any of the avoidable words, as the rules want it."""
    for rule in rules:
        answer = rule.applied(answer)
    return answer
