"""Seeded pivots of six levels: a conversation that the expert served by the policy, cut before one of their steps.

0  no policy: one tool and an id, or what the tool returned and a question   3  several records, named by what they are
1  who the customer is, looking up, answering; four tools                    4  records alike, terms by tier, wrong ids
2  the whole policy on one record: terms, a yes first, rules that forbid     5  several matters, tools of two trades

The step is drawn by its kind first, so that rare kinds come up as often as common ones.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any

from environments.tool_call_pivot import matters, policy, story, world
from environments.tool_call_pivot.domains import DOMAINS, Domain
from environments.tool_call_pivot.messages import Facts

LEVELS = range(6)
TALK = ("identity", "lookup", "words")
ALL = (*TALK, "cancel", "move", "change", "confirm", "handover", "refuse", "report")


@dataclass(slots=True, frozen=True)
class Size:
    """What a level draws from. `batch`, `mistyped`, `instead` and `failed` are shares of stories."""

    rules: tuple[str, ...] = (*ALL, "final")
    wishes: tuple[str, ...] = ("ask", "cancel", "cancel", "move", "change")
    handovers: float = 0.0
    num_records: tuple[int, int] = (1, 1)
    num_matters: tuple[int, int] = (1, 1)
    kinds: tuple[str, ...] = ()
    shown: float = 1.0
    alike: bool = False
    batch: float = 0.0
    mistyped: float = 0.0
    instead: float = 0.0
    failed: float = 0.0
    gold: bool = False
    more_tools: int = 0


LATE = ("get", "list", "answer", "propose", "refuse", "write", "report", "handover")
SIZES = {
    1: Size(rules=TALK, wishes=("ask",), shown=0.7, num_records=(1, 2)),
    2: Size(rules=ALL, handovers=0.1, shown=0.8),
    3: Size(num_records=(3, 4), shown=0.4, batch=0.3, instead=0.2, handovers=0.05, kinds=LATE),
    4: Size(
        num_records=(4, 6),
        shown=0.3,
        alike=True,
        batch=0.3,
        mistyped=0.2,
        instead=0.3,
        failed=0.06,
        gold=True,
        kinds=LATE,
    ),
    5: Size(
        num_records=(5, 7),
        num_matters=(2, 3),
        shown=0.4,
        alike=True,
        batch=0.35,
        mistyped=0.2,
        instead=0.3,
        gold=True,
        handovers=0.08,
        kinds=LATE,
        more_tools=5,
    ),
}
GIVEN = ("both", "both", "person", "secret", "none")


def make(rng: random.Random, level: int) -> dict[str, Any]:
    """The history up to one step of the expert's, and hidden: that step, and what a message has to say."""
    domain = rng.choice(DOMAINS)
    return _smallest(rng, domain) if level == 0 else _cut(rng, domain, SIZES[level])


def _cut(rng: random.Random, domain: Domain, size: Size) -> dict[str, Any]:
    terms = policy.drawn(rng, rules=size.rules, gold_free=size.gold)
    num_records = rng.randint(*size.num_records)
    case = world.drawn(rng, domain, terms, num_records=num_records, alike=size.alike, final="final" in size.rules)
    wanted = matters.drawn(rng, case, size)
    told = story.Story(rng, case)
    steps = list(told.steps(wanted, rng.choice(GIVEN), verified=rng.random() >= size.failed))
    place, step = _place(rng, steps, size)
    system = policy.document(terms, domain, case.company, case.today.isoformat())
    tools = _tools(rng, domain, size)
    return {"system": system, "prompt": story.items(steps[:place]), "tools": tools, **_hidden(step)}


def _place(rng: random.Random, steps: list[story.Step], size: Size) -> tuple[int, story.Told | story.Called]:
    """Where to cut, and the step that comes then; of several matters only the last one is cut."""
    able = [(place, step) for place, step in enumerate(steps) if not isinstance(step, story.Said)]
    if size.num_matters[1] > 1:
        opened = [place for place, step in enumerate(steps) if isinstance(step, story.Said) and place]
        middle = opened[len(opened) // 2]
        able = [(place, step) for place, step in able if place > middle] or able
    found = [(place, step) for place, step in able if not size.kinds or step.kind in size.kinds] or able
    kind = rng.choice(sorted({step.kind for _, step in found}))
    return rng.choice([(place, step) for place, step in found if step.kind == kind])


def _tools(rng: random.Random, domain: Domain, size: Size) -> list[dict[str, Any]]:
    own = domain.declarations()
    if size.rules == TALK:
        own = {use: own[use] for use in ("authenticate", "get", "list", "cancel")}
    other = rng.choice([one for one in DOMAINS if one is not domain]).declarations()
    more = rng.sample([tool for use, tool in other.items() if use != "transfer"], size.more_tools)
    tools = [*own.values(), *more]
    rng.shuffle(tools)
    return tools


def _hidden(step: story.Told | story.Called) -> dict[str, Any]:
    facts = step.facts.packed() if isinstance(step, story.Told) else None
    return {"expected_action": story.expected(step), "message_facts": facts, "kind": step.kind}


# Level 0 --------------------------------------------------------------------------------------------------------------

SHORT = {"get": ("Show {record} {id}.", "Look up {id}."), "cancel": ("Cancel {record} {id}.", "Please cancel {id}.")}
QUESTIONS = {"date": ("{Date} of {id}?", "Which {date} has {id}?"), "price": ("Price of {id}?", "What does {id} cost?")}


def _smallest(rng: random.Random, domain: Domain) -> dict[str, Any]:
    """An id and the one tool for it, or a question and the record that was looked up for it."""
    terms = policy.drawn(rng, rules=TALK, gold_free=False)
    (record,) = world.drawn(rng, domain, terms, num_records=1, alike=False, final=False).records
    tools = domain.declarations()
    words = {"record": domain.record, "id": record.id, "date": domain.date, "Date": domain.date.capitalize()}
    looked_up = story.Called("get", ((domain.get, {domain.id_field: record.id}),), (record.shown(domain),))
    if rng.random() < 0.5:
        use = rng.choice(sorted(SHORT))
        schema = json.loads(json.dumps(tools[use]))
        schema["parameters"]["properties"].pop("refund", None)
        schema["parameters"]["required"] = [domain.id_field]
        step = story.Called(use, ((schema["name"], {domain.id_field: record.id}),), ())
        return {"prompt": rng.choice(SHORT[use]).format(**words), "tools": [schema], **_hidden(step)}
    what = rng.choice(sorted(QUESTIONS))
    fact = record.date.isoformat() if what == "date" else str(record.price)
    said = story.Said(rng.choice(QUESTIONS[what]).format(**words))
    answer = story.Told("answer", fact, Facts(say=(fact,), allow=(record.id,)))
    return {"prompt": story.items([said, looked_up]), "tools": [tools["get"]], **_hidden(answer)}
