"""The policy document of one company: numbered rules, in an order and with amounts that are drawn for each task.

The expert follows it to the letter, so that the next action is never a matter of taste.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from environments.tool_call_pivot.domains import Domain, one

FULL_DAYS, HALF_DAYS = (10, 14, 21, 30), (2, 3, 5, 7)
PERCENTS = (25, 50, 75)
MAX_CHANGES = (1, 2, 3)


@dataclass(slots=True, frozen=True)
class Policy:
    """The terms, and the number of each rule by its name.

    From `full_days` before the date a cancellation is refunded in full, from `part_days` by `part` percent, later not
    at all. A record that was changed `max_changes` times is final. `gold_free`: gold customers pay no fees, and get all
    back.
    """

    full_days: int
    part_days: int
    part: int
    move_fee: int
    change_fee: int
    max_changes: int
    group: int
    gold_free: bool
    numbers: dict[str, int]

    def refund(self, price: int, days: int, tier: str) -> int | None:
        """What is paid back, None where cancelling is forbidden."""
        if days < self.part_days:
            return None
        share = 100 if days >= self.full_days or (self.gold_free and tier == "gold") else self.part
        return price * share // 100

    def fee(self, fee: int, tier: str) -> int:
        return 0 if self.gold_free and tier == "gold" else fee

    def rule(self, name: str) -> str:
        return f"rule {self.numbers[name]}"


def drawn(rng: random.Random, *, rules: tuple[str, ...], gold_free: bool) -> Policy:
    """Terms by lot; the rules of those names get their numbers in random order."""
    order = list(rules)
    rng.shuffle(order)
    return Policy(
        full_days=rng.choice(FULL_DAYS),
        part_days=rng.choice(HALF_DAYS),
        part=rng.choice(PERCENTS),
        move_fee=rng.randint(5, 40),
        change_fee=rng.randint(5, 40),
        max_changes=rng.choice(MAX_CHANGES),
        group=rng.randint(4, 9),
        gold_free=gold_free,
        numbers={name: number for number, name in enumerate(order, start=1)},
    )


def document(policy: Policy, domain: Domain, company: str, today: str) -> str:
    """The system message: who the agent is, what day it is, the rules in the order of their numbers."""
    texts = _texts(policy, domain)
    lines = [f"{number}. {texts[name]}" for name, number in sorted(policy.numbers.items(), key=lambda pair: pair[1])]
    return (
        f"You serve the customers of {company}, {one(domain.trade)}. Today is {today}. "
        "In each turn you either call tools or send one message, never both.\n\nRules\n" + "\n".join(lines)
    )


def _texts(policy: Policy, domain: Domain) -> dict[str, str]:
    record, records, date = domain.record, domain.records, domain.date
    person, secret = domain.person[0], domain.secret[0]
    gold = " Gold customers get all of it back in that time." if policy.gold_free else ""
    free = " Gold customers pay nothing." if policy.gold_free else ""
    return {
        "identity": (
            f"First of all call {domain.authenticate}. If the {person} or the {secret} is missing, ask for what is "
            "missing and mention nothing else. If the customer cannot be verified, hand over (not_verified)."
        ),
        "lookup": (
            f"Before you say anything about {one(record)} or change it, look it up with {domain.get}; several in one "
            f"turn, one call each. If the customer names no id, or one that is not found, call {domain.list} instead, "
            "which shows all there is to know. What you have seen needs no second look."
        ),
        "cancel": (
            f"Cancelling: at least {policy.full_days} days before the {date} the whole price is paid back, at least "
            f"{policy.part_days} days before {policy.part} % of it.{gold} Later than that nothing can be cancelled."
        ),
        "move": f"Another {date} costs {policy.move_fee} euros.{free}",
        "change": f"Another {domain.option} costs {policy.change_fee} euros.{free}",
        "final": (
            f"A {record} that was changed {policy.max_changes} times already can be given no other {date} and no other "
            f"{domain.option}."
        ),
        "confirm": (
            f"Before you cancel, move or change, tell the id of each {record}, the new {domain.date} or "
            f"{domain.option} if there is one, and the amount in euros (the refund, or the fee, for several their sum, "
            "also where it is 0), and ask for a yes. After the yes do it at once, in one turn, with the amount of each."
        ),
        "handover": (
            "Hand over with transfer_to_human, once the customer is verified and before anything else: whoever wants "
            f"to complain (complaint), asks about an invoice (invoice), or wants to book for more than {policy.group} "
            "people (group)."
        ),
        "refuse": (
            f"Where a rule forbids what the customer wants, say so, with the id of each {record} that it is about "
            "and the rule's number, as in «rule 12»."
        ),
        "report": "When something is done, tell the confirmation code that the tool returned.",
        "words": (
            "A message has sixty words at most. Dates are written YYYY-MM-DD, amounts in euros. It holds the amounts, "
            f"dates and codes that are asked for here or by the customer, the id of the {record} if you like, and no "
            f"others. Nothing about {records} that were not asked about."
        ),
    }
