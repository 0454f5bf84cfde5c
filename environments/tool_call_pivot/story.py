"""How the expert serves one customer, step by step, by the policy; any step of theirs can be the one that is asked for.

customer says what they want ─▶ [ask what is missing] ─▶ authenticate ─▶ for each matter:
    [hand over]   or   look up ─▶ answer | refuse | propose ─▶ customer agrees, or wants otherwise ─▶ write ─▶ report
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from environments.tool_call_pivot import phrases
from environments.tool_call_pivot.messages import Facts
from environments.tool_call_pivot.world import Case, Record


@dataclass(slots=True, frozen=True)
class Said:
    """The customer's words."""

    text: str


@dataclass(slots=True, frozen=True)
class Told:
    """The expert's words, of a kind, and what any message in their place has to say."""

    kind: str
    text: str
    facts: Facts


@dataclass(slots=True, frozen=True)
class Called:
    """The expert's calls in one turn, of a kind, with what each returned."""

    kind: str
    calls: tuple[tuple[str, dict[str, Any]], ...]
    outputs: tuple[Any, ...]


Step = Said | Told | Called


@dataclass(slots=True, frozen=True)
class Matter:
    """What the customer wants: `wish` is price, date, option, cancel, move, change, or a reason to hand over.

    `named` is how they name the records; `shown` that they do so by id, `mistyped` by a wrong one. `value` is the new
    date or option; `instead` what they want once they have heard the terms.
    """

    wish: str
    records: tuple[Record, ...] = ()
    named: str = ""
    shown: bool = True
    mistyped: str = ""
    value: str = ""
    instead: Matter | None = None
    people: int = 0


@dataclass(slots=True)
class Story:
    """The expert at work on one case; `seen` are the ids looked up so far."""

    rng: random.Random
    case: Case
    seen: set[str] = field(default_factory=set)

    def steps(self, matters: list[Matter], given: str, verified: bool = True) -> Iterator[Step]:
        """The whole conversation; `given` says what the customer proves at once: both, person, secret or none."""
        yield from self._opening(matters[0], given)
        yield from self._authenticated(verified)
        if not verified:
            return
        for number, matter in enumerate(matters):
            if number:
                yield Said(f"{self.rng.choice(phrases.NEXT)} {self._wanted(matter)}")
            yield from self._served(matter)

    # Who it is --------------------------------------------------------------------------------------------------

    def _opening(self, matter: Matter, given: str) -> Iterator[Step]:
        pick, fields = self.rng.choice, self._identity()
        domain = self.case.domain
        lines = {
            "both": [pick(phrases.I_AM).format(**fields)],
            "person": [pick(phrases.ONLY).format(phrase=domain.person[0], value=self.case.person)],
            "secret": [pick(phrases.ONLY).format(phrase=domain.secret[0], value=self.case.secret)],
            "none": [],
        }[given]
        parts = [self._wanted(matter), *lines]
        self.rng.shuffle(parts)
        yield Said(" ".join([pick(phrases.GREETINGS), *parts]))
        if given == "both":
            return
        missing = [phrase for phrase in (domain.person[0], domain.secret[0]) if given == "none"]
        missing = missing or [domain.secret[0] if given == "person" else domain.person[0]]
        known = {domain.person[0], domain.secret[0]} - {*missing}
        yield Told(
            "ask",
            pick(phrases.MISSING).format(missing=" and your ".join(missing)),
            Facts(say=tuple(missing), never=tuple(sorted(known)), ask=True),
        )
        value = self.case.secret if given == "person" else self.case.person
        answer = pick(phrases.BOTH_GIVEN if given == "none" else phrases.GIVEN)
        yield Said(answer.format(value=value, **fields))

    def _identity(self) -> dict[str, str]:
        (person, _), (secret, _) = self.case.domain.person, self.case.domain.secret
        values = {"person_value": self.case.person, "secret_value": self.case.secret}
        return {"person": person, "secret": secret, **values}

    def _authenticated(self, verified: bool) -> Iterator[Step]:
        domain = self.case.domain
        arguments = {domain.person[1]: self.case.person, domain.secret[1]: self.case.secret}
        output = {"verified": True, "tier": self.case.tier} if verified else {"verified": False}
        yield Called("authenticate", ((domain.authenticate, arguments),), (output,))
        if not verified:
            yield self._handed_over("not_verified")

    def _handed_over(self, reason: str) -> Called:
        return Called("handover", (("transfer_to_human", {"reason": reason}),), ({"transferred": True},))

    # What they want ---------------------------------------------------------------------------------------------

    def _wanted(self, matter: Matter) -> str:
        domain = self.case.domain
        texts = {**phrases.ASKS, **phrases.WISHES, **phrases.HANDOVERS}[matter.wish]
        return self.rng.choice(texts).format(
            records=matter.named,
            record=domain.record,
            date=domain.date,
            option=domain.option,
            value=matter.value,
            people=matter.people,
        )

    def _served(self, matter: Matter) -> Iterator[Step]:
        if matter.wish in phrases.HANDOVERS:
            yield self._handed_over(matter.wish)
            return
        yield from self._looked_up(matter)
        if matter.wish in phrases.ASKS:
            yield self._answer(matter)
        elif (forbidden := self._forbidden(matter)) is not None:
            rule = self.case.policy.rule(forbidden)
            ids = tuple(record.id for record in matter.records)
            text = self.rng.choice(phrases.REFUSALS).format(rule=rule, ids=" and ".join(ids))
            yield Told("refuse", text, Facts(say=(rule, *ids)))
        else:
            yield from self._agreed(matter)
            return
        yield Said(self.rng.choice(phrases.THANKS))

    def _looked_up(self, matter: Matter) -> Iterator[Step]:
        domain, unseen = self.case.domain, [record for record in matter.records if record.id not in self.seen]
        if not unseen:
            return
        if matter.mistyped:
            yield Called("get", ((domain.get, {domain.id_field: matter.mistyped}),), ({"error": "not found"},))
        elif matter.shown:
            calls = tuple((domain.get, {domain.id_field: record.id}) for record in unseen)
            yield Called("get", calls, tuple(record.shown(domain) for record in unseen))
            self.seen |= {record.id for record in unseen}
            return
        shown = [record.shown(domain) for record in self.case.records]
        yield Called("list", ((domain.list, {domain.person[1]: self.case.person}),), ({domain.records: shown},))
        self.seen |= {record.id for record in self.case.records}

    # What comes of it -------------------------------------------------------------------------------------------

    def _answer(self, matter: Matter) -> Told:
        (record,), domain = matter.records, self.case.domain
        fact = {"price": str(record.price), "date": record.date.isoformat(), "option": record.option}[matter.wish]
        text = self.rng.choice(phrases.ANSWERS[matter.wish])
        others = tuple(option for option in domain.options if option != fact) if matter.wish == "option" else ()
        return Told(
            "answer",
            text.format(fact=fact, date=domain.date, option=domain.option),
            Facts(say=(fact,), allow=(record.id,), never=others),
        )

    def _forbidden(self, matter: Matter) -> str | None:
        """The name of the rule in the way, None where there is none."""
        if matter.wish == "cancel":
            return "cancel" if any(self.case.refund(record) is None for record in matter.records) else None
        numbered = "final" in self.case.policy.numbers
        return "final" if numbered and any(map(self.case.final, matter.records)) else None

    def _agreed(self, matter: Matter) -> Iterator[Step]:
        calls = tuple(self._write(matter, record) for record in matter.records)
        ids = tuple(record.id for record in matter.records)
        amount = str(sum(arguments.get("refund", arguments.get("fee", 0)) for _, arguments in calls))
        values = (matter.value,) if matter.value else ()
        text = self.rng.choice(phrases.PROPOSALS[matter.wish]).format(
            ids=" and ".join(ids), amount=amount, value=matter.value
        )
        yield Told("propose", text, Facts(say=(*ids, *values, amount, "yes")))
        if matter.instead is not None:
            yield Said(f"{self.rng.choice(phrases.RATHER)} {self._wanted(matter.instead)}")
            yield from self._served(matter.instead)
            return
        yield Said(self.rng.choice(phrases.YES))
        codes = tuple(f"{self.rng.choice('QXYZ')}{self.rng.randint(100_000, 999_999)}" for _ in calls)
        outputs = tuple(
            {"done": True, "confirmation": code, "entry": self.rng.randint(10_000, 99_999)} for code in codes
        )
        yield Called("write", calls, outputs)
        text = self.rng.choice(phrases.REPORTS).format(codes=" and ".join(codes))
        yield Told("report", text, Facts(say=codes, allow=(*ids, amount, *values)))
        yield Said(self.rng.choice(phrases.THANKS))

    def _write(self, matter: Matter, record: Record) -> tuple[str, dict[str, Any]]:
        domain = self.case.domain
        if matter.wish == "cancel":
            return domain.cancel, {domain.id_field: record.id, "refund": self.case.refund(record)}
        tool, name = (domain.move, domain.date_field) if matter.wish == "move" else (domain.change, domain.option_field)
        return tool, {domain.id_field: record.id, f"new_{name}": matter.value, "fee": self.case.fee(matter.wish)}


def expected(step: Told | Called) -> dict[str, Any]:
    """The step as the `expected_action` of a row."""
    if isinstance(step, Told):
        return {"type": "message", "content": step.text}
    calls = [
        {"type": "function_call", "name": name, "arguments": json.dumps(arguments)} for name, arguments in step.calls
    ]
    return calls[0] if len(calls) == 1 else {"type": "function_call_batch", "calls": calls}


def items(steps: list[Step]) -> list[dict[str, Any]]:
    """The steps as items of the Responses API."""
    shown: list[dict[str, Any]] = []
    number = 0
    for step in steps:
        if isinstance(step, Said):
            shown.append({"role": "user", "content": step.text})
        elif isinstance(step, Told):
            shown.append({"role": "assistant", "content": step.text})
        else:
            ids = [f"call_{number + place}" for place in range(len(step.calls))]
            number += len(ids)
            shown += [
                {"type": "function_call", "call_id": call_id, "name": name, "arguments": json.dumps(arguments)}
                for call_id, (name, arguments) in zip(ids, step.calls, strict=True)
            ]
            shown += [
                {"type": "function_call_output", "call_id": call_id, "output": json.dumps(output)}
                for call_id, output in zip(ids, step.outputs, strict=True)
            ]
    return shown


def later(case: Case, rng: random.Random, record: Record) -> str:
    """Another date than the record's, after today."""
    days = rng.randint(1, 90)
    day = case.today + timedelta(days=days)
    return (day if day != record.date else day + timedelta(days=1)).isoformat()
