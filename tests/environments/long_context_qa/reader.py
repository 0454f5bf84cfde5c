"""The second route to an answer: it reads the rendered prompt, never the facts it was made from.

Loaded by path: `load_file(Path(__file__).with_name("reader.py"))`.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

DOCUMENT = re.compile(r"^BEGIN DOCUMENT (\d+): (\w+) of (\d+ \w+ \d{4}), [^\n]*\n(.*?)^END DOCUMENT \1$", re.M | re.S)
RANKS = ["log", "letter", "memo", "report", "minutes", "contract"]
THING = r"((?:Project|Plant|Item|Contract) [A-Z][\w-]*(?: [A-Z]\w*){0,2}|[A-Z][a-z]+ [A-Z][a-z]+)"
FORMS = (
    re.compile(rf"\bthe ([a-z][\w ]*?) of {THING} is (.+)\.$"),
    re.compile(rf"\bfor {THING} the ([a-z][\w ]*?) is (.+)\.$"),
    re.compile(rf"\b{THING} has an? ([a-z][\w ]*?) of (.+)\.$"),
)
ENTRY = re.compile(rf"^\d\d:\d\d ([a-z][\w ]*?) of {THING} = (.+)$")
ROW = re.compile(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.M)


class Undefined(Exception):
    """The documents do not say what the question needs."""


@dataclass
class Said:
    entity: str
    attribute: str
    value: Any
    document: int
    day: date
    rank: int


def documents(prompt: str) -> dict[int, str]:
    return {int(match[1]): match[0] for match in DOCUMENT.finditer(prompt)}


def statements(prompt: str, without: int = 0) -> list[Said]:
    found = []
    for match in DOCUMENT.finditer(prompt):
        number, kind, body = int(match[1]), match[2].lower(), match[4]
        if number == without:
            continue
        about = (number, datetime.strptime(match[3], "%d %B %Y").date(), RANKS.index(kind))
        for entity, attribute, value in triples(kind, body):
            found.append(Said(entity, attribute, read(value), *about))
    return found


def triples(kind: str, body: str):
    if kind == "report":
        for row in ROW.finditer(body):
            if row[1] not in ("name", "---"):
                yield row[1], row[2], row[3]
    if kind == "log":
        for line in body.splitlines():
            if entry := ENTRY.match(line):
                yield entry[2], entry[1], entry[3]
        return
    for sentence in re.split(r"(?<=\.)\s+", body):
        for number, form in enumerate(FORMS):
            if match := form.search(sentence):
                entity, attribute = (match[2], match[1]) if number == 0 else (match[1], match[2])
                yield entity, attribute, match[3]
                break


def read(text: str) -> Any:
    for layout in ("%d %B %Y", "%Y-%m-%d"):
        try:
            return datetime.strptime(text, layout).date()
        except ValueError:
            continue
    if match := re.match(r"^([\d,]+)(?: \S+)?$", text):
        return int(match[1].replace(",", ""))
    return text


class Reading:
    """Answers a query from what is said."""

    def __init__(self, said: list[Said], rule: str = "") -> None:
        self.said = defaultdict(list)
        for one in said:
            self.said[one.entity, one.attribute].append(one)
        self.rule = rule

    def value(self, entity: str, attribute: str) -> Any:
        found = self.said.get((entity, attribute), [])
        if not found:
            raise Undefined(f"{attribute} of {entity}")
        if self.rule:

            def weight(one):
                return one.day if self.rule == "latest" else one.rank

            best = max(map(weight, found))
            found = [one for one in found if weight(one) == best]
        if len(found) != 1:
            raise Undefined(f"{attribute} of {entity} is said {len(found)} times")
        return found[0].value

    def where(self, attribute: str, value: Any) -> list[str]:
        return sorted(e for (e, a) in self.said if a == attribute and self.value(e, a) == value)

    def answer(self, query: dict[str, Any]) -> Any:
        return getattr(self, "_" + query["op"])(query)

    def _values(self, query):
        return [self.value(entity, query["attribute"]) for entity in query["entities"]]

    def _total(self, query):
        return sum(self._values(query))

    def _group_total(self, query):
        return sum(self.value(entity, query["attribute"]) for entity in self.where(query["by"], query["of"]))

    def _difference(self, query):
        return sum(self._values(query)) - sum(self._values({**query, "entities": query["others"]}))

    def _months(self, query):
        return sum(self.value(query["entity"], attribute) for attribute in query["attributes"])

    def _order_value(self, query):
        return sum(self.value(item, "unit price") * self.value(item, "ordered quantity") for item in query["entities"])

    def _above(self, query):
        pairs = zip(query["entities"], self._values(query), strict=True)
        return sorted(entity for entity, value in pairs if value > query["bound"])

    def _ordered(self, query):
        return [entity for _, entity in sorted(zip(self._values(query), query["entities"], strict=True))]

    def _ranked(self, query):
        return self._ordered(query)[::-1][query["index"]]

    def _in_order(self, query):
        return self._ordered(query)

    def _both(self, query):
        return sorted(set(self.where("lead", query["lead"])) & set(self.where("site", query["site"])))

    def _highest_then(self, query):
        return self.value(self._ordered(query)[-1], query["then"])

    def _chain(self, query):
        at = query["entity"]
        for step in query["steps"]:
            at = self.value(at, step)
        return at

    def _span(self, query):
        starts = [self.value(entity, "start date") for entity in query["entities"]]
        ends = [self.value(entity, "completion date") for entity in query["entities"]]
        return (max(ends) - min(starts)).days

    def _deadline(self, query):
        days = sum(self.value(query["entity"], term) for term in query["terms"])
        return (self.value(query["entity"], "signing date") + timedelta(days=days)).isoformat()


def solve(prompt: str, query: dict[str, Any], without: int = 0) -> Any:
    """The answer to a query over documents, perhaps with one of them missing. Raises `Undefined`."""
    return Reading(statements(prompt, without), query.get("rule", "")).answer(query)


def find(prompt: str, query: dict[str, Any]) -> Any:
    """The answer to a query for needles."""
    if query["op"] == "codes":
        codes = re.findall(r"The access code of (\S+) is (\d+)\.", prompt)
        return [code for key in query["keys"] for name, code in codes if name == key]
    if query["op"] == "variables":
        held: dict[str, str] = {}
        for name, source in re.findall(r"VAR ([A-Z]{5}) = (?:VAR )?([A-Z]{5}|\d+)\.", prompt):
            held[name] = held[source] if source.isalpha() else source
        return sorted(name for name, value in held.items() if value == query["value"])
    text = prompt.split("\n\n")[1]
    counts = Counter(re.findall(r"[a-z]+", text)).most_common(query["count"] + 1)
    assert counts[-2][1] > counts[-1][1], counts
    return sorted(word for word, _ in counts[:-1])


def gold(answer: dict[str, Any]) -> Any:
    """The hidden answer in the form that this reader gives it."""
    return answer["value"] if "value" in answer else answer["items"]
