"""Replies of a group compared with each other: by rule where the task allows it, by a generative reward model else."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Sequence
from typing import Any, ClassVar

from environments.genrm_compare import generator, rows
from environments.genrm_compare.circle import mean_scores, published_pairs
from environments.genrm_compare.contest import LOW, Contest, Standing
from gym_core.environment import Environment, Grading, GroupEntry, Task, Verdict
from gym_core.errors import BadRequest, JudgeFault
from gym_core.judge.genrm import COMPARISON, COMPARISON_PUBLISHED, NEUTRAL, UNREAD, Comparison
from gym_core.judge.judge import Judge

RETRIES = 3
"""More tries of the public server after a reply that it cannot read."""

NOTHING_SAID = "None"
"""What the public server sends in place of an empty reply."""


class GenrmCompare(Environment):
    """Answer helpfully; 1 to 5, the mean of comparisons with two other replies of the group, silence earns 1."""

    name = "genrm_compare"
    version = "1.0.0"
    levels: ClassVar[range] = generator.LEVELS
    reward_range: ClassVar[tuple[float, float]] = (1.0, 5.0)
    published_range: ClassVar[tuple[float, float] | None] = (-math.inf, math.inf)
    max_steps = 1
    group_deadline_s = 120.0

    def make(self, rng: random.Random, level: int) -> dict[str, Any]:
        return generator.make(rng, level)

    def ingest(self, task: Task) -> Task:
        return rows.ingest(task)

    def judge_decides(self, task: Task) -> bool:
        return task.ref is None

    def verify_group(self, entries: list[GroupEntry]) -> list[float | Verdict]:
        task = _task(entries)
        if self.judge_decides(task):
            return [LOW for _ in entries]  # stands for nothing: `judge_decides`
        contest = _contest(entries)
        standings = contest.decided_by(lambda one, other: generator.compare(task, one, other))
        return [_scored(standing, standing.reward) for standing in standings if isinstance(standing.reward, float)]

    def verify_group_published(self, entries: list[GroupEntry]) -> list[float | Verdict]:
        task = _task(entries)
        texts = [_published_text(entry) for entry in entries]
        if self.judge_decides(task):
            return [LOW for _ in entries]
        pairs = published_pairs(len(texts), _strategy(task))
        judged = [(pair, generator.compare(task, texts[pair[0]], texts[pair[1]])) for pair in pairs]
        neutral = float(NEUTRAL.score_1 or 0.0)
        return [neutral if score is None else score for score in mean_scores(len(texts), judged)]

    async def judge_group(
        self, entries: list[GroupEntry], verdicts: list[Verdict], judge: Judge
    ) -> list[float | Verdict | JudgeFault]:
        task = _task(entries)
        if not self.judge_decides(task):
            return list(verdicts)
        if entries[0].grading is Grading.PUBLISHED:
            return await _judged_as_published(task, entries, judge)
        contest = _contest(entries)
        about = {"conversation": rows.conversation(task), "principle": rows.principle(task)}
        results = await asyncio.gather(
            *(_compared(judge, about, contest.answers[one], contest.answers[other]) for one, other in contest.pairs)
        )
        return [_verdict(standing) for standing in contest.standings(results)]

    def oracle(self, task: Task) -> str:
        if task.ref is None:
            raise NotImplementedError("the best answer to a row from outside is not known")
        return str(task["best"])


# Members ---------------------------------------------------------------------------------------------------------


def _task(entries: Sequence[GroupEntry]) -> Task:
    """The task that all members share. Raises `BadRequest` where they were asked different things."""
    keys = {rows.cohort_key(entry.task.to_row()) for entry in entries}
    if len(keys) > 1:
        raise BadRequest("all members of a group answer one prompt under one principle", field="palaestra.group_id")
    return entries[0].task


def _strategy(task: Task) -> str:
    return str(task.get("comparison_strategy", "circular"))


def _contest(entries: Sequence[GroupEntry]) -> Contest:
    return Contest([entry.reply.text for entry in entries], _strategy(entries[0].task))


def _published_text(entry: GroupEntry) -> str:
    """All output texts, thinking that stands among them included."""
    return entry.reply.raw_text if entry.reply.raw_text.strip() else NOTHING_SAID


def _verdict(standing: Standing) -> Verdict | JudgeFault:
    if isinstance(standing.reward, JudgeFault):
        return standing.reward
    return _scored(standing, standing.reward)


def _scored(standing: Standing, reward: float) -> Verdict:
    if standing.why:
        return Verdict(reward=reward, details={"reason": standing.why})
    own = [score for _, score, _, _ in standing.matches]
    details = {"comparisons": [dict(zip(_MATCH, match, strict=True)) for match in standing.matches]}
    return Verdict(reward=reward, components={"helpfulness": sum(own) / len(own)}, details=details)


_MATCH = ("place", "score", "other", "ranking")


# Judges ----------------------------------------------------------------------------------------------------------


async def _compared(judge: Judge, about: dict[str, str], first: str, second: str) -> Comparison | JudgeFault:
    """One comparison; a judge that fails is told of, so that it costs its two members alone."""
    try:
        return (await judge.ask(COMPARISON, **about, response_1=first, response_2=second)).value
    except JudgeFault as fault:
        return fault


async def _judged_as_published(
    task: Task, entries: Sequence[GroupEntry], judge: Judge
) -> list[float | Verdict | JudgeFault]:
    """As the public server, in the order of arrival, unreadable replies taken for 3, 3, 3.5. What it also swallows, a
    judge that cannot be asked, is a `JudgeFault` here, and so is a mean that is no number."""
    texts = [_published_text(entry) for entry in entries]
    pairs = published_pairs(len(texts), _strategy(task))
    if not pairs:
        return [float(NEUTRAL.score_1 or 0.0) for _ in entries]
    about = {"conversation": rows.published_history(task), "principle": str(task.get("principle") or "")}
    results = await asyncio.gather(
        *(_asked_as_published(judge, about, texts[one], texts[other]) for one, other in pairs)
    )
    scores = mean_scores(len(texts), zip(pairs, results, strict=True))
    return [
        score if score is not None and math.isfinite(score) else JudgeFault(f"the judge's scores make {score}")
        for score in scores
    ]


async def _asked_as_published(judge: Judge, about: dict[str, str], first: str, second: str) -> Comparison:
    for _ in range(RETRIES + 1):
        said = (await judge.ask(COMPARISON_PUBLISHED, **about, response_1=first, response_2=second)).value
        if said != UNREAD:
            return said
    return NEUTRAL
