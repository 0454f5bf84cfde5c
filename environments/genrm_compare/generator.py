"""Requests whose answers can be rated by rule: a question with one right answer, and wishes about the form.

    score 1 where the answer is not right, else 5 less one for each wish that is not kept, 2 at least

0  a small question, one wish      2  three wishes      4  four wishes, longer questions
1  two wishes                      3  four wishes       5  five wishes, some of them said turns ago
"""

from __future__ import annotations

import random
from typing import Any

from environments.genrm_compare.questions import FAMILIES, Question
from environments.genrm_compare.wishes import Draft, Wish, draw_wishes
from gym_core.judge.gates import gate
from gym_core.judge.genrm import Comparison

LEVELS = range(6)
WISHES = (1, 2, 3, 4, 4, 5)
SIZES = (0, 0, 1, 1, 2, 3)
MAX_CHARS = 20_000
"""Longer replies are not read: every task has a limit on words."""

DECISIVE = {4: 1, 3: 1, 2: 2, 1: 3, 0: 3.5, -1: 4, -2: 5, -3: 6, -4: 6}
"""The ranking that a difference of scores stands for."""


def make(rng: random.Random, level: int) -> dict[str, Any]:
    """A prompt, and hidden: the question's answer and candidates, the wishes, and the best reply."""
    question = rng.choice(FAMILIES)(rng, SIZES[level])
    draft = Draft(question.says)
    wishes = draw_wishes(rng, draft, WISHES[level])
    hidden = {
        "answer": question.answer,
        "candidates": list(question.candidates),
        "wishes": [(wish.kind, wish.value) for wish in wishes],
        "best": draft.text,
    }
    asked = [wish.ask() for wish in rng.sample(wishes, len(wishes))]
    if level < LEVELS[-1]:
        return {"prompt": " ".join([question.text, *asked]), **hidden}
    early = rng.randint(1, 3)
    turns = [
        {"role": "user", "content": "For everything you tell me from now on: " + " ".join(asked[:early])},
        {"role": "assistant", "content": "Understood, I will."},
        {"role": "user", "content": " ".join([question.text, *asked[early:]])},
    ]
    return {"prompt": turns, **hidden}


def quality(task: Any, text: str) -> float:
    """The helpfulness of a reply to a generated task, 1 to 5."""
    question = Question("", str(task["answer"]), "", tuple(task["candidates"]))
    if len(text) > MAX_CHARS or gate(text) or not question.answered(text):
        return 1.0
    missed = sum(not Wish(kind, value).kept(text) for kind, value in task["wishes"])
    return float(max(2, 5 - missed))


def compare(task: Any, first: str, second: str) -> Comparison:
    """What a judge that makes no mistake says; its ranking of equals is the middle."""
    one, other = quality(task, first), quality(task, second)
    return Comparison(one, other, DECISIVE[int(one - other)])
