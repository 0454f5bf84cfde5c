"""Six kinds of document, each with its own way of stating a fact.

minutes   The group noted that the headcount of Project Amber Falcon is 41 people.      numbered paragraphs
letter    Please note that Project Amber Falcon has a headcount of 41 people.           running text
memo      For Project Amber Falcon the headcount is 41 people.                          running text
contract  The parties agree that …                                                      § paragraphs
report    | Project Amber Falcon | headcount | 41 people |                              a table within the text
log       14:32 headcount of Project Amber Falcon = 41 people                           a line for each entry
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date

from environments.long_context_qa.facts import Fact, long_date, plain, prose

KINDS = ("contract", "minutes", "report", "memo", "letter", "log")
"""By authority, the greatest first."""

_OPENERS = {
    "contract": ("The parties agree that", "It is hereby recorded that", "Both sides accept that"),
    "minutes": ("The group noted that", "It was reported that", "The chair confirmed that"),
    "memo": ("For the record,", "All staff should know that", "As of this memo,"),
    "letter": ("Please note that", "We write to confirm that", "As agreed by telephone,"),
}
PARAGRAPH = 4
"""Sentences in a paragraph."""


@dataclass(slots=True)
class Document:
    """`kind` gives its authority, `day` its place in time; both stand in its heading."""

    kind: str
    day: date
    company: str
    seed: int
    facts: list[Fact] = field(default_factory=list)

    @property
    def rank(self) -> int:
        """Greater counts more."""
        return -KINDS.index(self.kind)

    @property
    def heading(self) -> str:
        return f"{self.kind.capitalize()} of {long_date(self.day)}, {self.company}"

    def text(self, filler: Sequence[str]) -> str:
        """The body: all facts, at places drawn among these sentences. The same for the same sentences."""
        return _RENDER[self.kind](random.Random(self.seed), self.kind, self.facts, list(filler))


def statement(rng: random.Random, fact: Fact) -> str:
    """One sentence's worth, without its opening and its full stop."""
    name, value = fact.attribute, prose(fact)
    form = rng.random()
    if form < 0.3:
        return f"for {fact.entity} the {name} is {value}"
    if form < 0.6 and not isinstance(fact.value, str):
        return f"{fact.entity} has {'an' if name[0] in 'aeiou' else 'a'} {name} of {value}"
    return f"the {name} of {fact.entity} is {value}"


def _running(rng: random.Random, kind: str, facts: Sequence[Fact], filler: list[str]) -> str:
    said = [f"{rng.choice(_OPENERS[kind])} {statement(rng, fact)}." for fact in facts]
    return _MARKS[kind](_paragraphs(_mixed(rng, filler, said)))


def _report(rng: random.Random, kind: str, facts: Sequence[Fact], filler: list[str]) -> str:
    table = ["| name | entry | value |", "|---|---|---|"]
    table += [f"| {fact.entity} | {fact.attribute} | {plain(fact)} |" for fact in facts]
    return "\n\n".join(_mixed(rng, _paragraphs(filler), ["\n".join(table)]))


def _log(rng: random.Random, kind: str, facts: Sequence[Fact], filler: list[str]) -> str:
    said = [f"{fact.attribute} of {fact.entity} = {plain(fact)}" for fact in facts]
    lines = _mixed(rng, filler, said)
    minutes = sorted(rng.choices(range(24 * 60), k=len(lines)))
    return "\n".join(f"{at // 60:02}:{at % 60:02} {line}" for at, line in zip(minutes, lines, strict=True))


def _mixed(rng: random.Random, filler: list[str], said: list[str]) -> list[str]:
    """The filler with what is said put in at random places, in random order."""
    rng.shuffle(said)
    places = sorted(rng.choices(range(len(filler) + 1), k=len(said)))
    mixed: list[str] = []
    last = 0
    for place, one in zip(places, said, strict=True):
        mixed += filler[last:place]
        mixed.append(one)
        last = place
    return mixed + filler[last:]


def _paragraphs(lines: list[str]) -> list[str]:
    return [" ".join(lines[start : start + PARAGRAPH]) for start in range(0, len(lines), PARAGRAPH)]


_MARKS: dict[str, Callable[[list[str]], str]] = {
    "contract": lambda parts: "\n\n".join(f"§ {number} {part}" for number, part in enumerate(parts, 1)),
    "minutes": lambda parts: "\n\n".join(f"{number}. {part}" for number, part in enumerate(parts, 1)),
    "memo": "\n\n".join,
    "letter": lambda parts: "\n\n".join(["Dear colleagues,", *parts, "With kind regards"]),
}
_RENDER: dict[str, Callable[[random.Random, str, Sequence[Fact], list[str]], str]] = {
    **dict.fromkeys(_OPENERS, _running),
    "report": _report,
    "log": _log,
}
