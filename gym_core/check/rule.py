"""A rule of the gate: an id that never changes, one question to the environment, and what to do where it fails.

@rule("oracle", "the oracle earns the maximum over HTTP", fix="...")
async def oracle(subject: Subject) -> str: ...     # what was seen; or raises Failed, Skipped
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gym_core.check.subject import Subject

Question = Callable[["Subject"], Awaitable[str]]

RULES: list[Rule] = []
"""All rules that were entered; `gym_core.check.gate` imports the modules that define them and orders them."""


@dataclass(frozen=True, slots=True)
class Rule:
    id: str
    about: str
    fix: str
    ask: Question


class Failed(Exception):
    """The rule is broken: what was found, and the way out where the rule's own words do not fit."""

    def __init__(self, found: str, fix: str = "") -> None:
        super().__init__(found)
        self.found = found
        self.fix = fix


class Skipped(Exception):
    """The rule does not apply, or cannot be asked here: why."""


def rule(id: str, about: str, *, fix: str) -> Callable[[Question], Question]:
    """Enter a rule."""

    def enter(ask: Question) -> Question:
        RULES.append(Rule(id, about, fix, ask))
        return ask

    return enter
