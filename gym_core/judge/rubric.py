"""A list of yes-or-no questions about one response, asked side by side, and the score that they make together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import msgspec

from gym_core.judge.judge import Judge
from gym_core.judge.protocol import Protocol
from gym_core.judge.protocols import RUBRIC

Aggregate = Callable[[Sequence[float], Sequence[float]], float]


def _weighted(scores: Sequence[float], weights: Sequence[float]) -> float:
    return sum(score * weight for score, weight in zip(scores, weights, strict=True)) / sum(weights)


AGGREGATES: Mapping[str, Aggregate] = {
    "mean": lambda scores, weights: sum(scores) / len(scores),
    "weighted": _weighted,
    "min": lambda scores, weights: min(scores),
    "max": lambda scores, weights: max(scores),
    "all": lambda scores, weights: float(min(scores) >= 1.0),
    "any": lambda scores, weights: float(max(scores) >= 1.0),
}
"""Scores of the items and their weights to one score, all in [0, 1]."""


class RubricItem(msgspec.Struct, frozen=True, kw_only=True):
    """One question; `wanted` is the answer that earns the point."""

    question: str
    wanted: bool = True
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.question.strip():
            raise ValueError("`question` must not be empty")
        if not 0.0 < self.weight < float("inf"):
            raise ValueError(f"`weight` is {self.weight}, but must be above 0 and finite")


async def judge_rubric(
    judge: Judge,
    items: Sequence[RubricItem],
    *,
    context: str,
    response: str,
    aggregate: str = "mean",
    protocol: Protocol[bool] = RUBRIC,
) -> tuple[float, list[float]]:
    """The score in [0, 1] and the score of each item. One call an item; a response that answers nothing costs none and
    earns nothing, also where a NO is wanted.

    Raises `ValueError` for no items or an unknown aggregate, `JudgeFault` where one item has no ruling.
    """
    if not items:
        raise ValueError("a rubric needs at least one item: an empty one is satisfied by anything")
    if aggregate not in AGGREGATES:
        raise ValueError(f"a rubric is aggregated by {', '.join(AGGREGATES)}, not {aggregate!r}")

    async def score(item: RubricItem) -> float:
        fields = {"context": context, "response": response, "question": item.question}
        if "{expected}" in protocol.template:
            fields["expected"] = "YES" if item.wanted else "NO"
        ruling = await judge.ask(protocol, **fields)
        return float(not ruling.gate and ruling.value == item.wanted)

    scores = await side_by_side([asyncio.ensure_future(score(item)) for item in items])
    return AGGREGATES[aggregate](scores, [item.weight for item in items]), scores


async def side_by_side(tasks: Sequence[asyncio.Future[float]]) -> list[float]:
    """All results in order; the first failure ends the others."""
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
