"""What a customer wants, and how they name it: by id, by a wrong id, or by what only one of their records is."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from environments.tool_call_pivot.story import Matter, later
from environments.tool_call_pivot.world import Case, Record

if TYPE_CHECKING:
    from environments.tool_call_pivot.generator import Size

ASKED = ("price", "date", "option")
HANDOVERS = ("complaint", "invoice", "group")


def drawn(rng: random.Random, case: Case, size: Size) -> list[Matter]:
    """As many matters as the level has, each about other records; one that is handed over comes last."""
    free = list(case.records)
    rng.shuffle(free)
    found: list[Matter] = []
    for _ in range(rng.randint(*size.num_matters)):
        matter = _one(rng, case, size, free, first=not found)
        found.append(matter)
        free = [record for record in free if record not in matter.records]
    if rng.random() < size.handovers:
        found[-1] = Matter(rng.choice(HANDOVERS), people=case.policy.group + rng.randint(1, 6))
    return found


def _one(rng: random.Random, case: Case, size: Size, free: list[Record], *, first: bool) -> Matter:
    wish = rng.choice(size.wishes)
    wish = rng.choice(ASKED) if wish == "ask" else wish
    records: tuple[Record, ...] = (free[0],)
    able = [record for record in free if case.refund(record) is not None]
    if wish == "cancel" and len(able) > 1 and rng.random() < size.batch:
        records = (able[0], able[1])
    matter = Matter(wish, records, value=_value(rng, case, wish, records[0]))
    if len(records) == 1 and wish in ("cancel", "move", "change") and rng.random() < size.instead:
        others = [other for other in ("cancel", "move", "change") if other != wish]
        other = rng.choice(others)
        named = rng.choice((f"that {case.domain.record}", f"this {case.domain.record}"))
        matter = replace(
            matter, instead=Matter(other, records, named=named, value=_value(rng, case, other, records[0]))
        )
    return _named(rng, case, size, matter, first=first)


def _value(rng: random.Random, case: Case, wish: str, record: Record) -> str:
    if wish == "move":
        return later(case, rng, record)
    others = [option for option in case.domain.options if option != record.option]
    return rng.choice(others) if wish == "change" else ""


def _named(rng: random.Random, case: Case, size: Size, matter: Matter, *, first: bool) -> Matter:
    """The matter in the customer's words. A wrong id comes with what the record is, so that the list settles it."""
    domain = case.domain
    told = [_described(rng, case, record, dated=matter.wish != "date") for record in matter.records]
    if not all(told) or rng.random() < size.shown:
        ids = " and ".join(record.id for record in matter.records)
        return replace(matter, named=f"{domain.record if len(matter.records) == 1 else domain.records} {ids}")
    if first and len(matter.records) == 1 and rng.random() < size.mistyped:
        wrong = _wrong_id(rng, case)
        return replace(matter, named=f"{told[0]} ({wrong})", mistyped=wrong, shown=False)
    return replace(matter, named=" and ".join(told), shown=False)


def _wrong_id(rng: random.Random, case: Case) -> str:
    known = {record.id for record in case.records}
    while (wrong := f"{case.domain.prefix}-{rng.randint(1000, 9999)}") in known:
        continue
    return wrong


def _described(rng: random.Random, case: Case, record: Record, *, dated: bool) -> str:
    """Words that fit this record alone, "" where there are none; its date is among them only where `dated`."""
    domain, records = case.domain, case.records
    ways = []
    alike = [other for other in records if other.item == record.item]
    if len(alike) == 1:
        ways += [f"my {record.item}"] * 2
    else:
        ways += [f"my {record.item} of {record.date.isoformat()}"] * dated
        ways += [f"the {word} {record.item}" for word in _superlatives(record, alike)]
    if len(records) > 2:
        ways += [f"my {word} {domain.record}" for word in _superlatives(record, records)]
    return rng.choice(ways) if ways else ""


def _superlatives(record: Record, among: Sequence[Record]) -> list[str]:
    """What the record is most among others; prices and dates differ, so there is no tie."""
    words = {
        "cheapest": min(among, key=lambda one: one.price),
        "most expensive": max(among, key=lambda one: one.price),
        "earliest": min(among, key=lambda one: one.date),
        "latest": max(among, key=lambda one: one.date),
    }
    return [word for word, best in words.items() if best is record]
