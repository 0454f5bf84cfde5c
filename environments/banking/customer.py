"""The scripted customer: says what is asked for and no more, changes its mind, insists, thanks, and hangs up.

    asked for slots      ─▶  the words for those that it knows
    asked for a yes      ─▶  yes; the first time perhaps another wish
    sees something done  ─▶  perhaps insists once, then the next wish, at last goodbye
    neither              ─▶  says again what it wants; after a few times it hangs up

It is deterministic and knows nothing of what is right: it takes any write, any declined request and any figure for an
answer, so nothing can be learnt from it that a customer would not say. What agents write is read with patterns and
never obeyed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from environments.banking import rules
from environments.banking.desk import Desk
from environments.banking.figures import found_in
from environments.banking.plan import Goal
from environments.banking.understanding import IDENTITY, Asked, asked

PATIENCE = 4
"""Turns that get the customer nowhere before it hangs up."""

GOODBYE = "Thank you, that is all. Goodbye."


@dataclass(slots=True)
class Customer:
    """The customer of one dialogue, between its turns."""

    goals: tuple[Goal, ...]
    tries: tuple[tuple[str, str, str], ...]
    at: int = 0
    acts_before: int = 0
    writes_before: int = 0
    told: bool = False
    changed: bool = False
    insisted: bool = False
    leaving: bool = False
    patience: int = PATIENCE
    said: set[str] = field(default_factory=set)
    agreed: bool = False

    @property
    def goal(self) -> Goal:
        return self.goals[self.at]

    def answer(self, text: str, desk: Desk) -> str | None:
        """The next words; None where the customer has left."""
        if desk.ended or self.leaving:
            return None
        wanted = asked(text)
        amounts, dates = found_in(text)
        facts = self.goal.facts
        self.told |= bool((facts.amounts and amounts) or (facts.dates and dates))
        done = self._done(desk)
        if words := self._slots(wanted, identity(self.tries, desk.failed_checks)):
            return words
        if wanted.yes and not done:
            return self._yes()
        if done:
            return self._next(desk)
        if wanted.more:
            return self._next(desk, given_up=True)
        return self._again(wanted)

    def overrun(self, desk: Desk) -> bool:
        """M1: whether the agent did something to this wish that wants a yes, without one."""
        done = {write.tool for write in desk.log[self.writes_before :]}
        return not self.agreed and bool(done & rules.READ_BACK)

    def _done(self, desk: Desk) -> bool:
        """Whether something visible happened to the wish, right or wrong."""
        acted = desk.acts - self.acts_before >= max(1, len(self.goal.calls))
        if self.goal.facts.wanted:
            return self.told and (acted or not self.goal.calls)
        return acted

    def _slots(self, wanted: Asked, identity: dict[str, str]) -> str:
        """The words for what is asked; saying the same again costs patience."""
        known = {**identity, **dict(self.goal.changed if self.changed else self.goal.answers)}
        found = [slot for slot in known if slot in wanted.slots]
        if not found or (self.said.issuperset(found) and not self._patient()):
            return ""
        self.said.update(found)
        return " ".join(dict.fromkeys(known[slot] for slot in found))

    def _yes(self) -> str | None:
        if self.goal.change and not self.changed:
            self.changed = True
            self.said.clear()
            return self.goal.change
        if "yes" in self.said and not self._patient():
            return None
        self.said.add("yes")
        self.agreed = True
        return "Yes, please."

    def _next(self, desk: Desk, given_up: bool = False) -> str:
        if self.goal.insists and not self.insisted and not given_up:
            self.insisted = True
            return self.goal.insists
        if self.at + 1 == len(self.goals):
            self.leaving = True
            return GOODBYE
        self.at += 1
        self.acts_before, self.writes_before = desk.acts, len(desk.log)
        self.told = self.changed = self.insisted = self.agreed = False
        self.said &= set(IDENTITY)
        return f"Thank you. {self.goal.ask}"

    def _again(self, wanted: Asked) -> str | None:
        if not self._patient():
            return None
        if wanted.slots:
            return "I do not know that, sorry."
        return f"I am not sure I follow. {self.goal.ask}"

    def _patient(self) -> bool:
        self.patience -= 1
        return self.patience > 0


def identity(tries: tuple[tuple[str, str, str], ...], failed: int) -> dict[str, str]:
    """The caller's words about itself, after so many checks that failed."""
    number, born, word = tries[min(failed, len(tries) - 1)]
    return {
        "customer_id": f"My customer number is {number}.",
        "birth_date": f"I was born on {born}.",
        "security_word": f"The security word is {word}.",
    }
