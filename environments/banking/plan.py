"""What a dialogue is about: the customer's goals one after another, and what a right agent does about each.

The books as they must end are not computed a second time: the plan's calls are played on a copy of the books.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from environments.banking.books import Books
from gym_core.environment import Call


@dataclass(slots=True, frozen=True)
class Facts:
    """What the customer must be told, all of it in messages that name little else: amounts in cents, and dates."""

    amounts: tuple[int, ...] = ()
    dates: tuple[date, ...] = ()

    @property
    def wanted(self) -> bool:
        return bool(self.amounts or self.dates)


@dataclass(slots=True, frozen=True)
class Goal:
    """One wish of the customer.

    `ask` is how it begins; `answers` what the customer says when asked for a slot; `looks` and `calls` are the reads
    and the writes (declines included) of a right agent. `confirm` is how that agent reads back what it will do (empty:
    nothing needs it); `change` is what the customer then says instead of yes, the first time, and `changed` the slots
    from then on. `insists` is said once, after a refusal. `hands_over` is the reason where a human takes over.
    """

    family: str
    ask: str
    answers: tuple[tuple[str, str], ...] = ()
    looks: tuple[Call, ...] = ()
    calls: tuple[Call, ...] = ()
    facts: Facts = Facts()
    confirm: str = ""
    change: str = ""
    changed: tuple[tuple[str, str], ...] = ()
    insists: str = ""
    hands_over: str = ""


@dataclass(slots=True, frozen=True)
class Plan:
    """A whole dialogue. `tries` is what the caller says of itself (customer number, date of birth, security word), one
    set for each time it is asked; `caller` is whose they are ("" for an impostor), `secrets` what must not be told."""

    today: date
    start: Books
    prompt: str
    goals: tuple[Goal, ...]
    caller: str
    tries: tuple[tuple[str, str, str], ...]
    identity_given: bool = False
    secrets: Facts = Facts()

    @property
    def ending(self) -> str:
        """The reason of the hand-over, or the outcome under which the case is closed."""
        if self.goals[-1].hands_over:
            return self.goals[-1].hands_over
        declined = sum(any(call.name == "decline_request" for call in goal.calls) for goal in self.goals)
        return "done" if not declined else "declined" if declined == len(self.goals) else "partly"
