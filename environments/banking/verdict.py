"""The verdict: books, words, rules, identity, ending; all of it, or nothing.

    1.0 = state ∧ turns ∧ communication ∧ rules ∧ identity ∧ ending

    state          the books changed as the plan's calls change them, and in nothing else
    turns          after each turn nothing stood in the books that no part of the plan so far leads to
    communication  every fact that a customer was to hear was told in a message that names little else; no secret was
    rules          no write broke a rule of the policy (`invariants.KEPT`), or went before the customer's yes
    identity       who is verified is the caller, before anything was looked up or done
    ending         the case was closed with the right outcome, or handed over for the right reason

The session's own books are judged, not a replay: calls that failed cost nothing and help nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from environments.banking.books import changes
from environments.banking.desk import Desk
from environments.banking.figures import found_in
from environments.banking.plan import Facts, Goal, Plan
from environments.banking.turns import played
from gym_core.contracts import Verdict

SPARE = 4
"""Figures that a message may name beside those that are to be told."""


def judge(plan: Plan, desk: Desk, strays: Sequence[int], messages: Sequence[str]) -> Verdict:
    """The strict verdict. `strays` are the turns after which the books stood off the plan; `messages` what the
    customer was told."""
    wanted = changes(plan.start, played(plan, [call for goal in plan.goals for call in goal.calls]))
    did = changes(plan.start, desk.books)
    said = [found_in(text) for text in messages]
    untold = [goal.family for goal in plan.goals if not _all_told(goal.facts, said)]
    spilt = any(set(plan.secrets.amounts) & amounts or set(plan.secrets.dates) & dates for amounts, dates in said)
    unknown = "verified_first" in desk.violations or "two_callers" in desk.violations
    parts = {
        "state": did.same(wanted),
        "turns": not strays,
        "communication": not untold and not spilt,
        "rules": not desk.violations,
        "identity": not unknown and desk.verified == plan.caller,
        "ending": desk.ended == plan.ending,
    }
    return Verdict(
        reward=float(all(parts.values())),
        components={
            **{name: float(held) for name, held in parts.items()},
            "collateral": float(did.beyond(wanted)),
            "undone": float(did.same(wanted) and len(desk.log) > sum(_writes(goal) for goal in plan.goals)),
            "writes": float(len(desk.log)),
        },
        details={
            "families": [goal.family for goal in plan.goals],
            "violations": list(desk.violations),
            "stray_turns": list(strays),
            "not_told": untold,
            "ended": desk.ended or "not at all",
        },
    )


def _all_told(facts: Facts, said: Sequence[tuple[set[int], set[date]]]) -> bool:
    """Every figure stood in a message with few others: listing all there are tells nothing."""
    most = len(facts.amounts) + SPARE
    clear = [amounts for amounts, _ in said if len(amounts) <= most]
    days = [dates for _, dates in said if len(dates) <= len(facts.dates) + SPARE]
    return all(any(amount in amounts for amounts in clear) for amount in facts.amounts) and all(
        any(on in dates for dates in days) for on in facts.dates
    )


def _writes(goal: Goal) -> int:
    return sum(call.name != "decline_request" for call in goal.calls)
