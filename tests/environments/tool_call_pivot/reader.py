"""A second expert, who sees the prompt alone: whoever reads the rules and the conversation must know the next step.

`next_step(task)` is the calls, as (name, arguments), or what a message has to say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import date
from typing import Any

from environments.tool_call_pivot import phrases
from environments.tool_call_pivot.domains import DOMAINS, Domain

Shown = dict[str, Any]
Calls = list[tuple[str, Shown]]
ISO = r"\d{4}-\d\d-\d\d"
ID = re.compile(r"\b[A-Z]{3}-\d{4}\b")
GAPS = {"records": "(?P<records>.+?)", "value": rf"(?P<value>{ISO}|[a-z -]+?)", "people": r"\d+"}
HANDOVERS = tuple(phrases.HANDOVERS)


def pattern(template: str, domain: Domain) -> re.Pattern[str]:
    words = {"date": domain.date, "option": domain.option, "record": domain.record}
    gaps = {**GAPS, **{name: re.escape(word) for name, word in words.items()}}
    parts = re.split(r"\{(\w+)\}", template)
    return re.compile("".join(gaps[part] if n % 2 else re.escape(part) for n, part in enumerate(parts)))


def wishes(domain: Domain) -> list[tuple[str, re.Pattern[str]]]:
    """Every way to say what one wants in this trade."""
    return [
        (wish, pattern(template, domain))
        for table in (phrases.HANDOVERS, phrases.WISHES, phrases.ASKS)
        for wish, templates in table.items()
        for template in templates
    ]


def next_step(task: Any) -> Calls | set[str]:
    return Reader(task).step()


class Reader:
    """What the prompt says: terms, tools by use, the turns, and every record that a tool has shown."""

    def __init__(self, task: Any) -> None:
        self.system, self.items = task.messages[0]["content"], task.messages[1:]
        self.auth = self.found(r"First of all call (\w+)\.")
        self.get, self.list = self.found(r"look it up with (\w+);"), self.found(r"call (\w+) instead")
        self.fields = {tool["name"]: list(tool["parameters"]["properties"]) for tool in task.tools}
        self.domain = next(domain for domain in DOMAINS if domain.authenticate == self.auth)
        self.wishes = wishes(self.domain)
        self.key = self.fields[self.get][0]
        self.record = self.key.removesuffix("_id")
        self.outputs = {item["call_id"]: json.loads(item["output"]) for item in self.items if "output" in item}
        self.turns = [(n, item["content"]) for n, item in enumerate(self.items) if item.get("role") == "user"]
        self.tier = ""

    def found(self, words: str) -> str:
        match = re.search(words, self.system)
        return match[1] if match else ""

    def rule(self, words: str) -> str:
        return f"rule {next(line.split('.')[0] for line in self.system.splitlines() if words in line)}"

    def called(self, name: str, after: int = 0) -> list[Any]:
        return [self.outputs[item["call_id"]] for item in self.items[after:] if item.get("name") == name]

    # Step by step -----------------------------------------------------------------------------------------------------

    def step(self) -> Calls | set[str]:
        identity = re.search(r"If the (.+?) or the (.+?) is missing", self.system)
        assert identity is not None
        words = " ".join(text for _, text in self.turns)
        given = [re.search(r"\b[A-Z]\d{5}\b", words), re.search(r"\b[a-z]+\d{2}\b", words)]
        if not self.called(self.auth):
            if missing := {phrase for phrase, value in zip(identity.groups(), given, strict=True) if value is None}:
                return missing
            values = [value[0] for value in given if value is not None]
            return [(self.auth, dict(zip(self.fields[self.auth], values, strict=True)))]
        (known,) = self.called(self.auth)
        if not known["verified"]:
            return [("transfer_to_human", {"reason": "not_verified"})]
        self.tier = known["tier"]
        return self.served(given[0][0] if given[0] else "")

    def served(self, person: str) -> Calls | set[str]:
        matters = [(place, *wish) for place, text in self.turns if (wish := self.wish(text)) is not None]
        place, wish, value, named = matters[-1]
        if wish in HANDOVERS:
            return [("transfer_to_human", {"reason": wish})]
        if re.fullmatch(f"(that|this) {self.record}", named):
            named = matters[-2][3]
        shown = self.called(self.get) + [
            one for output in self.called(self.list) for one in next(iter(output.values()))
        ]
        known = {one[self.key]: one for one in shown if self.key in one}
        ids = ID.findall(named)
        failed = [
            item for item in self.items if item.get("name") == self.get and "error" in self.outputs[item["call_id"]]
        ]
        wrong = {json.loads(item["arguments"])[self.key] for item in failed}
        if not wrong.intersection(ids) and (unseen := [one for one in ids if one not in known]):
            return [(self.get, {self.key: one}) for one in unseen]
        if (not ids or wrong.intersection(ids)) and not self.called(self.list):
            return [(self.list, {self.fields[self.list][0]: person})]
        right = [known[one] for one in ids if one in known]
        return self.settled(wish, value, right or self.described(named, list(known.values())), place)

    def wish(self, text: str) -> tuple[str, str, str] | None:
        """What the customer wants, the new value in it, and how the records are named; None for other turns."""
        for wish, form in self.wishes:
            if (match := form.search(text)) is not None:
                groups = match.groupdict()
                return wish, groups.get("value", ""), groups.get("records", "")
        return None

    def described(self, named: str, known: list[Shown]) -> list[Shown]:
        day = next(name for name in known[0] if name.endswith("_date"))
        best: dict[str, Callable[[list[Shown]], Shown]] = {
            "cheapest": lambda among: min(among, key=lambda one: one["price"]),
            "most expensive": lambda among: max(among, key=lambda one: one["price"]),
            "earliest": lambda among: min(among, key=lambda one: one[day]),
            "latest": lambda among: max(among, key=lambda one: one[day]),
        }
        found = []
        for part in ID.sub("", named).replace("()", "").strip().split(" and "):
            among = [one for one in known if one["item"] in part] or known
            dated = re.search(ISO, part)
            pick = next((best[word] for word in best if word in part), None)
            found.append(pick(among) if pick else next(one for one in among if not dated or one[day] == dated[0]))
        return found

    # What comes of it -------------------------------------------------------------------------------------------------

    def settled(self, wish: str, value: str, records: list[Shown], place: int) -> Calls | set[str]:
        _, _, price, day, option, changes = records[0]
        fact = {"price": price, "date": day, "option": option}
        if wish in fact:
            return {str(records[0][fact[wish]])}
        ids = [one[self.key] for one in records]
        most = self.found(r"was changed (\d+) times")
        if wish != "cancel" and most and any(one[changes] >= int(most) for one in records):
            return {self.rule("can be given no other"), *ids}
        amounts = [self.refund(one[price], one[day]) if wish == "cancel" else self.fee(wish) for one in records]
        if None in amounts:
            return {self.rule("nothing can be cancelled"), *ids}
        tool = {"cancel": self.domain.cancel, "move": self.domain.move, "change": self.domain.change}[wish]
        if codes := [output["confirmation"] for output in self.called(tool, after=place)]:
            return set(codes)
        values = [value] if value else []
        last, text = self.turns[-1]
        if last < len(self.items) - 1 or self.wish(text) is not None:  # they have not agreed to anything yet
            return {*ids, *values, str(sum(amount or 0 for amount in amounts)), "yes"}
        rows = [[one[self.key], *values, amount] for one, amount in zip(records, amounts, strict=True)]
        return [(tool, dict(zip(self.fields[tool], row, strict=True))) for row in rows]

    def refund(self, price: int, day: str) -> int | None:
        terms = re.search(r"at least (\d+) days before .+? at least (\d+) days before (\d+) %", self.system)
        assert terms is not None
        left = (date.fromisoformat(day) - date.fromisoformat(self.found(r"Today is (\S+)\."))).days
        if left < int(terms[2]):
            return None
        whole = left >= int(terms[1]) or (self.tier == "gold" and "Gold customers get all" in self.system)
        return price if whole else price * int(terms[3]) // 100

    def fee(self, wish: str) -> int:
        fees = re.findall(r"Another (.+?) costs (\d+) euros\.", self.system)
        dates = {"date" in name: int(fee) for name, fee in fees}
        return 0 if self.tier == "gold" and "Gold customers pay nothing" in self.system else dates[wish == "move"]
