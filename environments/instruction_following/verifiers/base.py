"""What a constraint is: one published id, checked strictly and as published, described, sampled, witnessed, broken.

sample ─▶ kwargs ─▶ describe ─▶ prompt
             ├────▶ shape(plan) or write ─▶ witness ─▶ check ⇒ True
             └────▶ spoil(witness) ─▶ check ⇒ False
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, ClassVar

from environments.instruction_following.verifiers.kinds import Kind
from environments.instruction_following.witness import Plan
from environments.instruction_following.words import POOL

Kwargs = dict[str, Any]
AT_LEAST, LESS_THAN = "at least", "less than"


@dataclass(slots=True)
class Draw:
    """Where a sampled constraint gets its words and numbers: no word is dealt twice within one task."""

    rng: random.Random
    level: int = 1
    deck: list[str] = field(default_factory=list)

    def word(self) -> str:
        if not self.deck:
            self.deck = list(POOL)
            self.rng.shuffle(self.deck)
        return self.deck.pop()

    def count(self, low: int, high: int) -> int:
        """A number whose ceiling grows with the level, level 5 reaching `high`."""
        top = low + (high - low) * min(self.level, 5) // 5
        return self.rng.randint(low, max(low, top))

    def relation(self) -> str:
        return self.rng.choice((AT_LEAST, LESS_THAN))


class Constraint:
    """One verifier. Subclasses are stateless; `given` holds the row's kwargs, already of the declared kinds.

    `anchored`: what it wants is named in the prompt, so no constant reply meets it everywhere. `solo`: its witness is
    a whole text of its own kind, with room for keywords at most. `approximate`: the public checker leans on a tokenizer
    model that is not shipped here; the published grading repeats its rule with our own. `benchmark`: one of IFBench's
    out-of-distribution ids. `copies`: asks for words of its prompt, so that a reply which repeats them is no echo.
    """

    id: ClassVar[str] = ""
    arguments: ClassVar[dict[str, Kind]] = {}
    anchored: ClassVar[bool] = False
    solo: ClassVar[bool] = False
    approximate: ClassVar[bool] = False
    benchmark: ClassVar[bool] = False
    copies: ClassVar[bool] = False

    def describe(self, given: Kwargs) -> str:
        """The constraint in words, as a prompt states it."""
        raise NotImplementedError

    def sample(self, draw: Draw) -> Kwargs:
        return {}

    def settle(self, given: Kwargs, prompt: str) -> Kwargs:
        """What the kwargs mean together and with the row's prompt. Raises ValueError where nothing can satisfy them."""
        return given

    def check(self, text: str, given: Kwargs) -> bool:
        """The strict form; `text` is never empty."""
        raise NotImplementedError

    def published(self, text: str, given: Kwargs) -> bool:
        """The public checker's verdict, weaknesses included; the strict one where they agree."""
        return self.check(text, given)

    def shape(self, plan: Plan, given: Kwargs) -> None:
        """Ask of a witness what this constraint needs."""

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        """The whole witness of a solo constraint, these keywords in it where it has room for any."""
        raise NotImplementedError

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        """Edits of a good text that break this constraint, the least intrusive first."""
        raise NotImplementedError


REGISTRY: dict[str, Constraint] = {}
"""Every verifier by its published id."""


def register(kind: type[Constraint]) -> type[Constraint]:
    assert kind.id and kind.id not in REGISTRY, kind.id
    REGISTRY[kind.id] = kind()
    return kind


def related(count: int, relation: str, threshold: int) -> bool:
    """The two comparisons that published rows know."""
    return count < threshold if relation == LESS_THAN else count >= threshold


def published_count(text: str, keyword: str) -> int:
    """Occurrences anywhere, inside words too: the public checkers search without word boundaries."""
    return text.lower().count(keyword.strip().lower())
