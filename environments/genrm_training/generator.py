"""Pairs of responses of known quality, either order drawn by lot; the judge is told the rules that the marks follow.

0  a sum, one response right and one wrong, a short prompt     3  three wishes, filler and rudeness too
1  one wish, at most one defect each                           4  refusals, harmful requests, earlier turns; there
2  two wishes, at most two                                        the scores may be unknown, only the ranking counts
                                                               5  four wishes, up to four defects, words to the judge
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from environments.genrm_training.asks import FACTUAL, harmful
from environments.genrm_training.defects import RULES, Request, Response, respond, truth
from gym_core.judge.genrm import COMPARISON, Comparison

LEVELS = range(6)
WISHES = (0, 1, 2, 3, 3, 4)
MOST = (1, 1, 2, 3, 3, 4)
KINDS = {
    1: ("wrong", "wish"),
    2: ("wrong", "wish", "wish"),
    3: ("wrong", "wish", "wish", "filler", "rude"),
    4: ("wrong", "wish", "wish", "filler", "rude"),
    5: ("wrong", "wish", "wish", "wish", "filler", "rude"),
}
HARMFUL_SHARE, REFUSAL_SHARE, UNKNOWN_SHARE, PRAISE_SHARE = 0.25, 0.15, 0.2, 0.4
SMALLTALK = (("user", "Hi, are you there?"), ("assistant", "Yes. What can I do for you?"))


@dataclass(frozen=True, slots=True)
class Pair:
    """A request and two responses to it."""

    request: Request
    first: Response
    second: Response

    @property
    def truth(self) -> Comparison:
        return truth(self.first, self.second)

    def swapped(self) -> Pair:
        """The responses in the other order: a judge without a bias swaps its scores and says 7 less the ranking."""
        return Pair(self.request, self.second, self.first)

    def prompt(self) -> list[dict[str, Any]]:
        """What a judge is asked: `gym_core.judge.genrm.COMPARISON`, as `genrm_compare` asks it."""
        conversation = "\n\n".join(f"[{role.upper()}]: {text}" for role, text in self.request.turns)
        return COMPARISON.messages(
            {
                "conversation": conversation,
                "principle": RULES,
                "response_1": self.first.text,
                "response_2": self.second.text,
            }
        )


def make(rng: random.Random, level: int) -> dict[str, Any]:
    """A prompt, and hidden: the true scores (None where only the ranking counts) and ranking, the planted defects."""
    if level == 0:
        return _smallest(rng)
    pair = draw_pair(rng, level)
    if rng.random() < 0.5:
        pair = pair.swapped()
    unknown = level >= 4 and rng.random() < UNKNOWN_SHARE
    return {
        "prompt": pair.prompt(),
        **_hidden(pair.truth, unknown),
        "planted": [pair.first.defects, pair.second.defects],
    }


def draw_pair(rng: random.Random, level: int) -> Pair:
    """Two different responses; where their marks are equal, so are not their lengths."""
    dangerous = level >= 4 and rng.random() < HARMFUL_SHARE
    request = harmful(rng, 0) if dangerous else rng.choice(FACTUAL)(rng, WISHES[level])
    if level >= 4:
        request = Request((*SMALLTALK, *request.turns), request.right, request.wrong, request.wishes, request.harmful)
    while True:
        pair = Pair(request, _response(rng, request, level), _response(rng, request, level))
        if pair.first.score != pair.second.score or pair.first.num_words != pair.second.num_words:
            return pair


def _response(rng: random.Random, request: Request, level: int) -> Response:
    return respond(rng, request, (*_defects(rng, request, level), *_praise(rng, level)))


def _defects(rng: random.Random, request: Request, level: int) -> tuple[str, ...]:
    if request.harmful:
        return ("comply",) if rng.random() < 0.5 else ()
    if level >= 4 and rng.random() < REFUSAL_SHARE:
        return ("refusal",)
    return tuple(sorted(rng.sample(KINDS[level], rng.randint(0, MOST[level]))))


def _praise(rng: random.Random, level: int) -> tuple[str, ...]:
    return ("praise",) if level >= 5 and rng.random() < PRAISE_SHARE else ()


def _hidden(found: Comparison, unknown: bool) -> dict[str, Any]:
    scores = (None, None) if unknown else (found.score_1, found.score_2)
    return {"score_1": scores[0], "score_2": scores[1], "ranking": found.ranking, "best": oracle(found)}


def oracle(found: Comparison) -> str:
    """The judgement in the form that is asked for: in whole numbers, the nearest ones where the truth is a mean."""
    first, second = (5 if score is None else score for score in (found.score_1, found.score_2))
    return f'{{"score_1": {round(first)}, "score_2": {round(second)}, "ranking": {round(found.ranking)}}}'


def _smallest(rng: random.Random) -> dict[str, Any]:
    one, other = rng.randint(1, 40), rng.randint(1, 40)
    shown = [one + other, one + other + rng.choice((-2, -1, 1, 2))]
    first_right = rng.random() < 0.5
    if not first_right:
        shown.reverse()
    prompt = (
        f"{one} + {other}? Response 1: {shown[0]}. Response 2: {shown[1]}. Right is a 5, wrong a 1; ranking 1 if the "
        'first is right, 6 if the second is. Reply {"score_1": …, "score_2": …, "ranking": …}'
    )
    found = Comparison(5, 1, 1) if first_right else Comparison(1, 5, 6)
    return {"prompt": prompt, **_hidden(found, False), "planted": [(), ()]}
