"""Tasks from templates: a company, a template of the level, a story told with it.

    level 0   one write, the id stands in the prompt, two tools          level 3   a condition, or a question
    level 1   one look-up, one write                                     level 4   several writes, several look-ups
    level 2   choosing among what was found, or several writes           level 5   conditions in conditions, namesakes

Every task changes something or wants an answer, so silence is never right.
"""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import msgspec

from environments.workplace.company import COMPANIES, Company, company
from environments.workplace.facts import Facts, RowFacts
from environments.workplace.templates import analytics, calendar, customers, email, multi, projects
from environments.workplace.templates.story import TEMPLATES, Story, Template, Untold
from gym_core.environment import Script

LEVELS = range(6)
MODULES = (email, calendar, analytics, projects, customers, multi)
"""Imported for what they add to TEMPLATES."""

ATTEMPTS = 300
CLOCK = "Today's date is Thursday, 2023-11-30 and the current time is 23:59:00."
SYSTEM = (
    "You assist Robin of {domain}. " + CLOCK + " Remember the current date and time. The working week is Monday to "
    "Friday; meetings must not start before 9am or end after 6pm, and new ones start on the full or the half hour. "
    "Times are written YYYY-MM-DD HH:MM:SS, text in quotes is taken over as it is."
)
SHORT_SYSTEM = "You assist Robin of {domain}."


@cache
def _facts(number: int) -> RowFacts:
    return RowFacts(company(number))


def make(rng: random.Random, level: int) -> dict[str, Any]:
    """One task of this level."""
    number = rng.randrange(COMPANIES)
    known = [template for template in TEMPLATES if template.level == level]
    for _ in range(ATTEMPTS):
        template = rng.choice(known)
        told = tell(template, random.Random(rng.getrandbits(64)), company(number), _facts(number))
        if told is not None:
            return _task(template, company(number), *told)
    raise AssertionError(f"no template of level {level} can be told in company {number}")


def tell(template: Template, rng: random.Random, place: Company, facts: Facts) -> tuple[str, Story] | None:
    """The wish and its story, None where what was drawn makes no task."""
    story = Story(rng, place, facts)
    try:
        wish = template.tell(story)
    except Untold:
        return None
    assert story.answer is not None or any(writes for _, writes in story.calls), template.name
    return wish, story


def _task(template: Template, place: Company, wish: str, story: Story) -> dict[str, Any]:
    truth = [(call.name, msgspec.json.encode(call.arguments).decode()) for call, writes in story.calls if writes]
    task: dict[str, Any] = {
        "system": (SYSTEM if template.level else SHORT_SYSTEM).format(domain=place.domain),
        "prompt": wish,
        "public": {"category": f"workplace_assistant_{template.domain}"},
        "template": template.name,
        "world": place.number,
        "truth": truth,
        "answer": story.answer,
        "script": Script(tuple(call for call, _ in story.calls), story.answer or "Done."),
    }
    if template.tools:
        task["tools"] = list(template.tools)
    return task
