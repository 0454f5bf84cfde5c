"""Generated tasks of nine levels: two of three ask about documents, the rest look for needles in one text."""

from __future__ import annotations

import random
from typing import Any

from environments.long_context_qa import corpus, needles, smallest
from environments.long_context_qa.families import FAMILIES
from environments.long_context_qa.levels import LEVELS
from environments.long_context_qa.names import Names
from environments.long_context_qa.problem import Draw
from environments.long_context_qa.tokens import Counter

NEEDLE_SHARE = 1 / 3

FORMS = {
    "number": "the number{unit}",
    "date": "the date as YYYY-MM-DD",
    "name": "the name",
    "set": "all of them, separated by semicolons",
    "list": "all of them in that order, separated by semicolons",
}
"""What the answer line is to hold."""


def make(rng: random.Random, level: int, count: Counter) -> dict[str, Any]:
    """Prompt; public: its tokens and who counted them; hidden: answer, family, query, needed documents.

    Raises `Crowded` where the tokenizer makes too many tokens of the shortest text.
    """
    if level == 0:
        made = smallest.make(rng)
        return {**made, "needed": [], "public": public(count(made["prompt"]), count)}
    if rng.random() < NEEDLE_SHARE:
        return needle_task(rng, level, count, rng.choice(list(needles.NEEDLES)))
    return document_task(rng, level, count, rng.choice(list(FAMILIES)))


def document_task(rng: random.Random, level: int, count: Counter, family: str) -> dict[str, Any]:
    """A task of one family of questions over documents."""
    names, size = Names(rng), LEVELS[level]
    problem = FAMILIES[family](Draw(rng, names, rng.randint(*size.width)))
    laid = corpus.lay_out(rng, names, problem, size, ending(problem.answer), count)
    return {
        "prompt": laid.prompt,
        "public": public(laid.tokens, count, laid.documents),
        "answer": problem.answer,
        "family": family,
        "question": problem.question,
        "query": problem.query,
        "needed": laid.needed,
    }


def needle_task(rng: random.Random, level: int, count: Counter, family: str) -> dict[str, Any]:
    """A task of one family of needles."""
    needle = needles.NEEDLES[family](rng, LEVELS[level], count)
    prompt, tokens = needles.lay_out(needle, LEVELS[level], ending(needle.answer), count)
    return {
        "prompt": prompt,
        "public": public(tokens, count),
        "answer": needle.answer,
        "family": family,
        "question": needle.question,
        "query": needle.query,
        "needed": [],
    }


def ending(answer: dict[str, Any]) -> str:
    """How the answer is to be given."""
    unit = f" of {answer['unit']}" if answer.get("unit") not in (None, "", "EUR") else ""
    unit = " in EUR" if answer.get("unit") == "EUR" else unit
    form = FORMS[answer["kind"]].format(unit=unit)
    return f"End with one line that begins with `Answer:` and holds only {form}."


def public(tokens: int, count: Counter, documents: int = 1) -> dict[str, Any]:
    """The fields of a row that say how long it is, and who says so."""
    return {"input_tokens": tokens, "token_counter": count.name, "num_documents": documents}
