"""A group of replies as a contest: who takes part, in which circle, and what each member is worth in the end.

replies ─▶ no answer: the minimum, without a call
        ─▶ the different answers, ordered by their hash (not by arrival) ─▶ circle ─▶ mean scores, within 1–5
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from environments.genrm_compare.circle import Pair, mean_scores, pairs
from gym_core.errors import JudgeFault
from gym_core.judge.gates import gate
from gym_core.judge.genrm import SCORES, Comparison

LOW, HIGH = float(SCORES[0]), float(SCORES[1])
LOOKED_AT = 20_000
"""Characters in which a reply must have begun to say something."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a member is worth: `reward` within 1–5, or the judge's fault in its place; `why` for what was not compared.

    `matches` tells each comparison: the place (1, 2), its own score, the other's, the ranking.
    """

    reward: float | JudgeFault
    why: str = ""
    matches: tuple[tuple[int, float, float, float], ...] = ()


@dataclass(slots=True)
class Contest:
    """The different answers of a group, each once, whoever gave it and whenever it came."""

    texts: Sequence[str]
    strategy: str = "circular"
    answers: list[str] = field(init=False)
    refused: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.texts = [text.strip() for text in self.texts]
        self.refused = {text: why for text in self.texts if (why := gate(text[:LOOKED_AT]))}
        self.answers = sorted(set(self.texts) - self.refused.keys(), key=_place)

    @property
    def pairs(self) -> list[Pair]:
        """Which answers are compared, by their place in `answers`."""
        return pairs(len(self.answers), self.strategy)

    def standings(self, results: Sequence[Comparison | JudgeFault]) -> list[Standing]:
        """One for each text, in the order given; `results` belong to `pairs`.

        Who took part in a comparison that failed has no reward: with the rest alone it would have been judged in one
        place only. Nobody else is touched.
        """
        judged = [(pair, one) for pair, one in zip(self.pairs, results, strict=True) if isinstance(one, Comparison)]
        faults = {
            place: one
            for pair, one in zip(self.pairs, results, strict=True)
            if isinstance(one, JudgeFault)
            for place in pair
        }
        scores = mean_scores(len(self.answers), judged)
        found = {text: Standing(LOW, why) for text, why in self.refused.items()}
        for place, (text, score) in enumerate(zip(self.answers, scores, strict=True)):
            if place in faults:
                found[text] = Standing(faults[place])
                continue
            assert score is not None
            found[text] = Standing(min(HIGH, max(LOW, score)), matches=_matches(place, judged))
        return [found[text] for text in self.texts]

    def decided_by(self, compare: Callable[[str, str], Comparison]) -> list[Standing]:
        """The standings where a comparison is computed."""
        return self.standings([compare(self.answers[one], self.answers[other]) for one, other in self.pairs])


def _place(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _matches(place: int, judged: Sequence[tuple[Pair, Comparison]]) -> tuple[tuple[int, float, float, float], ...]:
    found = []
    for (one, other), said in judged:
        first, second = said.score_1 or 0.0, said.score_2 or 0.0
        if one == place:
            found.append((1, first, second, said.ranking))
        if other == place:
            found.append((2, second, first, said.ranking))
    return tuple(found)
