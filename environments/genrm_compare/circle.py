"""Who is compared with whom, and what all comparisons together say of each.

    circular    (0, 1), (1, 2), …, (n-1, 0): n comparisons, each member once in each place
    score       mean over a member's comparisons of its helpfulness, ties parted by the ranking

Nemotron 3 Nano report §3.3; NVIDIA-NeMo/Gym @ 07d6b0d0, `genrm_compare/utils.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations, permutations

from gym_core.judge.genrm import Comparison

Pair = tuple[int, int]
STRATEGIES = ("circular", "all_pairs")


def circle(count: int) -> list[Pair]:
    """Each with the next one, the last with the first; a lone member with itself. None for none."""
    return [(place, (place + 1) % count) for place in range(count)]


def pairs(count: int, strategy: str = "circular") -> list[Pair]:
    """The comparisons of strict grading: each member as often in the first place as in the second."""
    if strategy == "circular" or count < 2:
        return circle(count)
    return list(permutations(range(count), 2))


def published_pairs(count: int, strategy: str = "circular") -> list[Pair]:
    """Those of the public server, where `all_pairs` has each pair in one order; none for a lone member."""
    if count < 2:
        return []
    return circle(count) if strategy == "circular" else list(combinations(range(count), 2))


def mean_scores(count: int, judged: Iterable[tuple[Pair, Comparison]]) -> list[float | None]:
    """The score of each member over the comparisons that it took part in; None where it took part in none."""
    sums, counts = [0.0] * count, [0] * count
    for places, comparison in judged:
        for place, score in zip(places, comparison.untied(), strict=True):
            sums[place] += score
            counts[place] += 1
    return [total / times if times else None for total, times in zip(sums, counts, strict=True)]
