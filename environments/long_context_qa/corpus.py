"""From a problem to a prompt: facts are spread over documents, surrounded by others, and filled up to the budget.

needed facts ─▶ one document each ─▶ stale ones where they count less ─▶ distractors ─▶ filler ─▶ fit to the budget
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import accumulate

from environments.long_context_qa.distractors import Distractors
from environments.long_context_qa.documents import KINDS, Document
from environments.long_context_qa.facts import Fact
from environments.long_context_qa.filler import sentences
from environments.long_context_qa.levels import Level
from environments.long_context_qa.names import Names
from environments.long_context_qa.problem import AUTHORITY, LATEST, RULES, Problem
from environments.long_context_qa.tokens import Counter, fit, sentence_tokens

INTRODUCTION = "Read the documents and answer the question about them."


@dataclass(slots=True, frozen=True)
class Corpus:
    """A prompt, how many tokens it has, and which of its documents (numbered from 1) the answer needs."""

    prompt: str
    tokens: int
    documents: int
    needed: list[int]


def lay_out(rng: random.Random, names: Names, problem: Problem, level: Level, ending: str, count: Counter) -> Corpus:
    """Raises `Crowded` where the budget cannot hold the problem."""
    documents = _documents(rng, names, level)
    needed = _place(rng, documents, problem)
    for fact in problem.beside:
        rng.choice(documents).facts.append(fact)
    said = [fact for document in documents for fact in document.facts]
    others = Distractors(rng, names, problem.reserved, said)
    for fact in others.near(problem.needed, level.near) + others.far(level.far):
        rng.choice(documents).facts.append(fact)
    for document in documents:
        rng.shuffle(document.facts)
    asked = f"QUESTION: {problem.question}{RULES[problem.rule]}"
    opening = f"{INTRODUCTION}\n\n{asked}" if rng.random() < level.early else INTRODUCTION
    each = sentence_tokens(count)
    filler = sentences(rng, int(1.1 * level.tokens / each))
    write = _writer(rng, documents, filler, f"{asked}\n\n{ending}", opening)
    text, tokens = fit(write, level.tokens, count, each)
    return Corpus(text, tokens, len(documents), sorted(needed))


def _documents(rng: random.Random, names: Names, level: Level) -> list[Document]:
    """Distinct days, kinds as even as can be, in no order."""
    num = rng.randint(*level.documents)
    kinds = [KINDS[number % len(KINDS)] for number in rng.sample(range(num), num)]
    days = rng.sample(range(3000), num)
    company = names.company()
    opening = date(2026, 1, 1)
    return [
        Document(kind, opening + timedelta(days=days), company, rng.getrandbits(48))
        for kind, days in zip(kinds, days, strict=True)
    ]


def _place(rng: random.Random, documents: list[Document], problem: Problem) -> set[int]:
    """Put needed and stale facts in; the numbers of the documents that are needed.

    A fact that is also stated otherwise must not stand in a document that counts least.
    """
    weight = _WEIGHTS[problem.rule]
    revised = {counting.key for _, counting in problem.stale}
    facts = sorted(rng.sample(problem.needed, len(problem.needed)), key=lambda fact: fact.key not in revised)
    least = min(map(weight, documents))
    order = rng.sample(range(len(documents)), len(documents))
    high = [place for place in order if weight(documents[place]) > least]
    places = [high[number % len(high)] for number in range(len(revised))]
    free = [place for place in order if place not in places]
    places += [(free or order)[number % len(free or order)] for number in range(len(facts) - len(revised))]
    where: dict[tuple[str, str], Document] = {}
    for fact, place in zip(facts, places, strict=True):
        documents[place].facts.append(fact)
        where[fact.key] = documents[place]
    for stale, counting in problem.stale:
        _behind(rng, documents, weight, where[counting.key], stale)
    return {place + 1 for place in places}


def _behind(
    rng: random.Random, documents: list[Document], weight: Callable[[Document], int], counting: Document, stale: Fact
) -> None:
    """Put a stale statement into a document that counts less and does not speak of it yet, if there is one."""
    below = [
        document
        for document in documents
        if weight(document) < weight(counting) and all(fact.key != stale.key for fact in document.facts)
    ]
    if below:
        rng.choice(below).facts.append(stale)


_WEIGHTS: dict[str, Callable[[Document], int]] = {
    "": lambda document: document.day.toordinal(),
    LATEST: lambda document: document.day.toordinal(),
    AUTHORITY: lambda document: document.rank,
}


def _writer(
    rng: random.Random, documents: list[Document], filler: list[str], ending: str, opening: str
) -> Callable[[int], str]:
    """The prompt for so many sentences of filler, which are shared out in drawn proportions."""
    shares = list(accumulate(rng.uniform(0.4, 1.6) for _ in documents))

    def write(count: int) -> str:
        count = min(count, len(filler))
        cuts = [0, *(int(share / shares[-1] * count) for share in shares)]
        parts = [opening]
        for number, document in enumerate(documents, 1):
            body = document.text(filler[cuts[number - 1] : cuts[number]])
            parts.append(f"BEGIN DOCUMENT {number}: {document.heading}\n\n{body}\n\nEND DOCUMENT {number}")
        return "\n\n".join([*parts, ending])

    return write
