"""Instruction retention: rules laid down at the beginning, perhaps changed since, hold for the last answer too."""

from __future__ import annotations

import random

from environments.multi_turn_if import rules as laws
from environments.multi_turn_if.dialogues.dialogue import Dialogue, Family, asides
from environments.multi_turn_if.items import Item

BEST = "Both numbers together make {}"
"""None of its words is one that a rule may forbid."""


def retention(kind: str) -> Family:
    """A family in which a rule of this kind is among those that hold."""

    def make(rng: random.Random, level: int) -> Dialogue:
        rules = laws.draw(rng, 1 + (level + 1) // 2, kind)
        found = Dialogue()
        said = f"From now on {_joined(rules)}."
        if level and rng.random() < 0.5:
            found.system = said
        elif level:
            found.user(said, laws.keep(rules, "Noted"))
        before = list(rules)
        for question, answer in asides(rng, 2 * level - 1):
            found.user(question, laws.keep(before, answer))
        if level >= 3:
            changeable = [rule.kind for rule in rules if rule.kind not in ("no_comma", "upper")]
            rules = laws.redrawn(rng, rules, rng.choice(changeable)) if changeable else rules
            changed = [new for new, old in zip(rules, before, strict=True) if new != old]
            if changed:
                found.user(f"Change of rules: from now on {_joined(changed)} instead.", laws.keep(rules, "Noted"))
        one, other = rng.randint(1, 9 + 10 * level), rng.randint(1, 9 + 10 * level)
        asked = f"What is {one} + {other}? Write a sentence of four words or more, with the number in digits."
        found.user(f"{said} {asked}" if not level else asked)
        told = [Item("number", str(one + other), core=True), Item("at_least", "4", core=True)]
        found.items = [*told, *(rule.item for rule in rules)]
        found.best = laws.keep(rules, BEST.format(one + other))
        return found

    return make


def _joined(rules: list[laws.Rule]) -> str:
    said = [rule.said for rule in rules]
    return said[0] if len(said) == 1 else f"{'; '.join(said[:-1])}; and {said[-1]}"


FAMILIES: dict[str, Family] = {f"retention_{kind}": retention(kind) for kind in laws.ORDER}
