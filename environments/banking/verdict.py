"""The verdict: books, words, rules, identity, ending; all of it, or nothing.

1.0 = state ∧ turns ∧ communication ∧ rules ∧ identity ∧ ending

state          the books changed as the plan's calls change them, and in nothing else
turns          after each turn nothing stood in the books that no part of the plan so far leads to
communication  every fact that a customer was to hear was told in a message that names little else; no secret was
rules          no write broke a rule of the policy (`invariants.KEPT`)
identity       who is verified is the caller, before anything was changed
ending         the case was closed, or handed over for the right reason
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date
from itertools import combinations

from environments.banking.books import Books, Place, Row, changes
from environments.banking.desk import Desk
from environments.banking.figures import found_in
from environments.banking.plan import Facts, Goal, Plan
from environments.banking.replay import play
from gym_core.contracts import Verdict
from gym_core.environment import Call, ToolFault

SPARE = 4
"""Figures that a message may name beside those that are to be told."""

MANY_CALLS = 8
"""Beyond so many calls the states on the way are those of the plan's own order."""


def judge(plan: Plan, desk: Desk, strays: Sequence[int], messages: Sequence[str]) -> Verdict:
    """The strict verdict. `strays` are the turns after which the books stood off the plan; `messages` what the
    customer was told."""
    wanted = changes(plan.start, _played(plan, [call for goal in plan.goals for call in goal.calls]))
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
        "identity": not unknown and (desk.verified == plan.caller or not (desk.verified or plan.needs_caller)),
        "ending": desk.ended == plan.ending,
    }
    return Verdict(
        reward=float(all(parts.values())),
        components={
            **{name: float(held) for name, held in parts.items()},
            "collateral": float(did.beyond(wanted)),
            "undone": float(did.same(wanted) and len(desk.log) > sum(_writes(goal) for goal in plan.goals)),
            "writes": float(len(desk.log)),
            "early_reads": float(desk.early_reads),
        },
        details={
            "families": [goal.family for goal in plan.goals],
            "violations": list(desk.violations),
            "stray_turns": list(strays),
            "not_told": untold,
            "ended": desk.ended or "not at all",
        },
    )


def stray(plan: Plan, desk: Desk, at: int) -> bool:
    """Whether the books hold something that no order of the calls of goals 0..`at` leads to.

    Row by row: a row is as it was, or as some of the calls leave it; new rows are among those that they make.
    """
    calls = [call for goal in plan.goals[: at + 1] for call in goal.calls]
    did = changes(plan.start, desk.books)
    if not did.changed and not did.created:
        return False
    rows, created = _reachable(plan, calls)
    return any(row not in rows.get(place, ()) for place, row in did.changed.items()) or any(
        count > created[row] for row, count in did.created.items()
    )


def _reachable(plan: Plan, calls: list[Call]) -> tuple[dict[Place, set[Row]], Counter[Row]]:
    """What some of the calls make of each row, and how often each new row can be there."""
    rows: dict[Place, set[Row]] = {place: {row} for place, row in _original(plan, calls)}
    created: Counter[Row] = Counter()
    for some in _choices(calls):
        left = changes(plan.start, _played(plan, some))
        for place, row in left.changed.items():
            rows.setdefault(place, set()).add(row)
        created |= left.created
    return rows, created


def _original(plan: Plan, calls: list[Call]) -> list[tuple[Place, Row]]:
    end = changes(plan.start, _played(plan, calls))
    return [(place, plan.start.table(place[0])[place[1]]) for place in end.changed]


def _choices(calls: list[Call]) -> list[list[Call]]:
    if len(calls) > MANY_CALLS:
        return [calls[:count] for count in range(1, len(calls) + 1)]
    return [list(some) for count in range(1, len(calls) + 1) for some in combinations(calls, count)]


def _played(plan: Plan, calls: Sequence[Call]) -> Books:
    desk = Desk.opened(plan.start, plan.today)
    desk.verified = plan.caller
    for call in calls:
        try:
            play(desk, [call])
        except ToolFault:  # a part of a plan whose first half is missing
            continue
    return desk.books


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
