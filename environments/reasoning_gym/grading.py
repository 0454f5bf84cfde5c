"""Two gradings of one answer, inside the pinned process.

strict     the gold answer itself, or: the dataset's rule lets the answer through, and the package's grader gives 1
published  the package's grader as it is, its partial scores and weaknesses included
"""

from __future__ import annotations

import importlib
import math
import re
from typing import Any

from environments.reasoning_gym import expressions
from environments.reasoning_gym.catalogue import generators
from environments.reasoning_gym.items import Source, found, score
from environments.reasoning_gym.rules import RULES

_EVALUATORS = (
    "algorithmic.binary_matrix",
    "algorithmic.number_sorting",
    "algorithmic.spiral_matrix",
    "algorithmic.string_insertion",
    "arithmetic.bitwise_arithmetic",
    "games.n_queens",
)
"""Modules that hand an answer, or a row's own text, to `eval`."""


def disarm() -> None:
    """Give the package's `eval` of answers a stand-in that reads literals and runs nothing."""
    for name in _EVALUATORS:
        module: Any = importlib.import_module(f"reasoning_gym.{name}")
        module.eval = expressions.literal


def strict(source: Source, answer: str) -> bool:
    """True for a right answer and nothing beside it. Raises what the grader raises."""
    data_set, item = found(source)
    gold = item["answer"]
    if isinstance(gold, str) and gold.strip() and answer == gold.strip():
        return True
    entry = generators()[source["name"]]
    if entry.pattern and not re.fullmatch(entry.pattern, answer):
        return False
    return RULES[entry.rule](answer, item) and score(source["name"], data_set, item, answer) >= 1.0


def published(source: Source, answer: str) -> float:
    """What the package's grader gives. Raises what it raises."""
    data_set, item = found(source)
    paid = score(source["name"], data_set, item, answer)
    return paid if math.isfinite(paid) else 0.0
