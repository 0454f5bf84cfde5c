"""What a judgement is worth beside the true one.

    R = - C1 I_format - |P_h1 - G_h1| - |P_h2 - G_h2| - C2 |P_r - G_r|        C1 = 10, C2 = 1

Nemotron 3 Nano report §3.3, Eq. 1. Where the true scores are unknown (safety pairs), only format and ranking count.
"""

from __future__ import annotations

import math

from gym_core.judge.genrm import Comparison

C1, C2 = 10.0, 1.0
LOWEST = -13.0
"""4 + 4 + 5: everything said as wrong as can be."""


def reward(said: Comparison | None, truth: Comparison) -> tuple[float, dict[str, float]]:
    """Eq. 1 and its terms; `said` is None where the reply has not the form."""
    if said is None or not math.isfinite(said.ranking):
        return -C1, {"format": -C1}
    terms = {"format": 0.0, "ranking": -C2 * abs(said.ranking - truth.ranking)}
    for name in ("score_1", "score_2"):
        wanted, given = getattr(truth, name), getattr(said, name)
        if wanted is None:
            continue
        if given is None or not math.isfinite(given):
            return -C1, {"format": -C1}
        terms[name] = -abs(given - wanted)
    return sum(terms.values()), terms
