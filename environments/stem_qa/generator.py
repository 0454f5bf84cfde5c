r"""Multiple-choice tasks of six levels: computed facts, and documents with questions.

0  four numbers in a line, four options                  3  two steps; ten rows in groups; six options
1  one step; a document of five rows; four options       4  two and more; twenty rows; eight options
2  one or two steps; eight rows; four or five options    5  many steps; thirty rows; ten options

From level 1 on, three tasks of five bring a document. The answer is wanted as `\boxed{letter}`, from level 2 on now
and then in another form that the row names as published rows do.
"""

from __future__ import annotations

import random
from typing import Any

from environments.stem_qa.choice import LETTERS, Choice, NoOptions, Pick, from_fact, from_pick
from environments.stem_qa.documents import generator as document_generator
from environments.stem_qa.facts import BY_LEVEL

LEVELS = range(6)
OPTIONS = {1: (4, 4), 2: (4, 5), 3: (5, 6), 4: (7, 8), 5: (9, 10)}
DOCUMENT_SHARE = 0.6
TRIES = 200

BOXED = "Answer with the letter of the right option in \\boxed{}."
SHORT_BOXED = "Answer: \\boxed{letter}"
FORMS = (
    ("End with the line 'Final answer: X', where X is the letter of the right option.",
     r"Final answer:\s*([A-Za-z])", "Final answer: {}"),
    ("Give the letter of the right option like this: [[X]]", r"\[\[\s*([A-Za-z])\s*\]\]", "[[{}]]"),
    ("Conclude with 'Option selected: X', X being the letter of your choice.",
     r"Option selected:\s*([A-Za-z])", "Option selected: {}"),
)  # fmt: skip
"""Instruction, the row's expression, and how an answer looks."""


def make(rng: random.Random, level: int) -> dict[str, Any]:
    """Prompt, the fields of a published row, and hidden: expected answer, error models, reply, second routes."""
    if level == 0:
        return _smallest(rng)
    count = rng.randint(*OPTIONS[level])
    if rng.random() < DOCUMENT_SHARE:
        kind, text, asked = document_generator.make(rng, level, count)
        hidden = {"query": asked.query, "document": text, "check": "", "family": f"document:{kind}:{asked.query[0]}"}
        return _task(rng, level, text, asked.text, asked.choice, hidden)
    question, check, family, choice = _fact(rng, level, count)
    return _task(rng, level, "", question, choice, {"check": check, "family": f"fact:{family}"})


def _fact(rng: random.Random, level: int, count: int) -> tuple[str, str, str, Choice]:
    for _ in range(TRIES):
        family = rng.choice(BY_LEVEL[level])
        fact = family(rng)
        try:
            choice = from_pick(rng, fact, count) if isinstance(fact, Pick) else from_fact(rng, fact, count, level)
        except NoOptions:
            continue
        return fact.text, fact.check, family.__name__, choice
    raise AssertionError(f"no fact of level {level} in {TRIES} draws")


def _smallest(rng: random.Random) -> dict[str, Any]:
    told, choice = document_generator.smallest(rng)
    prompt = f"{told} {_listed(choice, ' ')} {SHORT_BOXED}"
    hidden = {"check": "", "family": "smallest", "reply": _boxed(choice.letter)}
    return {"prompt": prompt, **_fields(choice, {}), **_hidden(choice), **hidden}


def _task(
    rng: random.Random, level: int, document: str, question: str, choice: Choice, hidden: dict[str, Any]
) -> dict[str, Any]:
    instruction, metadata, reply = BOXED, {}, _boxed(choice.letter)
    if level >= 2 and rng.random() < 0.25:
        instruction, expression, answer = rng.choice(FORMS)
        metadata = {
            "template_metadata": {"template_prompt": f"{{problem}}\n\n{instruction}", "output_regex": expression}
        }
        reply = answer.format(choice.letter)
    problem = f"{question}\n{_listed(choice, chr(10))}"
    parts = [part for part in (document, problem) if part]
    if level >= 3 and rng.random() < 0.3:
        parts.reverse()
    prompt = "\n\n".join((*parts, instruction))
    return {"prompt": prompt, **_fields(choice, metadata), **_hidden(choice), "reply": reply, **hidden}


def _boxed(letter: str) -> str:
    return f"\\boxed{{{letter}}}"


def _listed(choice: Choice, separator: str) -> str:
    return separator.join(f"{letter}: {text}" for letter, text in zip(LETTERS, choice.options, strict=False))


def _fields(choice: Choice, metadata: dict[str, Any]) -> dict[str, Any]:
    options = [{letter: text} for letter, text in zip(LETTERS, choice.options, strict=False)]
    return {"public": {"options": options, "grading_mode": "strict_single_letter_boxed", **metadata}}


def _hidden(choice: Choice) -> dict[str, Any]:
    return {"expected_answer": choice.letter, "models": dict(zip(LETTERS, choice.models, strict=False))}
