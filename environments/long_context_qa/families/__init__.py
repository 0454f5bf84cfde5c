"""The families of questions over documents; each is a function from a draw to a problem."""

from __future__ import annotations

from collections.abc import Callable

from environments.long_context_qa.families.chains import chain, highest_then
from environments.long_context_qa.families.choices import both, count_over, in_order, ranked
from environments.long_context_qa.families.conflicts import by_authority, by_date
from environments.long_context_qa.families.dates import deadline, span
from environments.long_context_qa.families.totals import difference, group_total, months, order_value, total
from environments.long_context_qa.problem import Draw, Problem

FAMILIES: dict[str, Callable[[Draw], Problem]] = {
    "total": total,
    "group_total": group_total,
    "difference": difference,
    "months": months,
    "order_value": order_value,
    "count_over": count_over,
    "ranked": ranked,
    "in_order": in_order,
    "both": both,
    "highest_then": highest_then,
    "chain": chain,
    "span": span,
    "deadline": deadline,
    "by_date": by_date,
    "by_authority": by_authority,
}
