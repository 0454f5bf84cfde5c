"""The books after each turn: nothing may stand in them that no part of the plan so far leads to.

Row by row: a row is as it was, or as some of the calls of the wishes so far leave it; new rows are among those that
these calls make. In which order an agent goes about several calls does not count, nor whether it speaks in between.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

from environments.banking.books import Books, Place, Row, changes
from environments.banking.desk import Desk
from environments.banking.plan import Plan
from environments.banking.replay import play
from gym_core.environment import Call, ToolFault

FREE_CALLS = 5
"""The last so many calls may come in any selection; those before them in the plan's order."""


@dataclass(slots=True)
class Reach:
    """What may stand in the books while the customer is at a wish; worked out once for each wish, when first asked."""

    plan: Plan
    known: dict[int, tuple[dict[Place, set[Row]], Counter[Row]]] = field(default_factory=dict)

    def holds(self, books: Books, at: int) -> bool:
        """Whether these books can be on the way through wishes 0 to `at`."""
        did = changes(self.plan.start, books)
        if not did.changed and not did.created:
            return True
        if at not in self.known:
            self.known[at] = _reachable(self.plan, at)
        rows, created = self.known[at]
        return all(row in rows.get(place, ()) for place, row in did.changed.items()) and did.created <= created


def _reachable(plan: Plan, at: int) -> tuple[dict[Place, set[Row]], Counter[Row]]:
    """What each row may be, and how often each new row may be there."""
    calls = [call for goal in plan.goals[: at + 1] for call in goal.calls]
    rows: dict[Place, set[Row]] = {}
    created: Counter[Row] = Counter()
    for some in _selections(calls):
        left = changes(plan.start, played(plan, some))
        for place, row in left.changed.items():
            rows.setdefault(place, set()).add(row)
        created |= left.created
    return rows, created


def _selections(calls: Sequence[Call]) -> list[list[Call]]:
    first, free = list(calls[:-FREE_CALLS]), calls[-FREE_CALLS:]
    found = [first[:count] for count in range(1, len(first) + 1)]
    for count in range(1, len(free) + 1):
        found += [[*first, *some] for some in combinations(free, count)]
    return found


def played(plan: Plan, calls: Sequence[Call]) -> Books:
    """The books after these calls; one that cannot be made because an earlier one is missing is left out."""
    desk = Desk.opened(plan.start, plan.today)
    desk.verified = plan.caller
    for call in calls:
        try:
            play(desk, [call])
        except ToolFault:
            continue
    return desk.books
