"""Levels 6 to 8: tasks with the out-of-distribution ids of IFBench.

    6   a whole-text form of the benchmark with keywords, or one composable id of it with one of the training ids
    7   such a form with keywords and forbidden words, or four composable constraints, two of them the benchmark's
    8   six composable constraints, three of them the benchmark's

Each holds a constraint on a word that its prompt names. Forms with one fixed question (`custom:*`), with no room for a
word of the prompt, are verified but never generated.
"""

from __future__ import annotations

import random

from environments.instruction_following.conflicts import compatible
from environments.instruction_following.verifiers import REGISTRY

FIRST_LEVEL = 6
FORM_SHARE = 0.5
"""Share of the tasks of levels 6 and 7 that ask for a whole-text form."""

KEYWORDS, FORBIDDEN = "keywords:existence", "keywords:forbidden_words"
NUM_COMPOSED = {6: (1, 2), 7: (2, 4), 8: (3, 6)}
"""How many ids of the benchmark, and how many altogether, by level."""

_ROOMLESS = ("format:options", "repeat:repeat_simple")

BENCHMARK = {name: kind for name, kind in REGISTRY.items() if kind.benchmark}
FORMS = sorted(
    name
    for name, kind in BENCHMARK.items()
    if kind.solo and not kind.anchored and not name.startswith("custom:") and name not in _ROOMLESS
)
ANCHORED_FORMS = sorted(name for name, kind in BENCHMARK.items() if kind.solo and kind.anchored)
COMPOSABLE = sorted(name for name, kind in BENCHMARK.items() if not kind.solo)
OTHERS = sorted(name for name, kind in REGISTRY.items() if not kind.solo and not kind.benchmark)
ANCHORS = sorted(name for name, kind in REGISTRY.items() if kind.anchored and not kind.solo)


def choose_benchmark(rng: random.Random, level: int) -> list[str]:
    """Ids that fit together, in random order. They need not have a witness: the caller looks for one."""
    if level < max(NUM_COMPOSED) and rng.random() < FORM_SHARE:
        return _form(rng, level)
    num_benchmark, num_ids = NUM_COMPOSED[level]
    chosen = [rng.choice(ANCHORS)]
    wanted = num_benchmark - REGISTRY[chosen[0]].benchmark
    _join(chosen, rng.sample(COMPOSABLE, len(COMPOSABLE)), wanted)
    _join(chosen, rng.sample(OTHERS, len(OTHERS)), num_ids - len(chosen))
    rng.shuffle(chosen)
    return chosen


def _form(rng: random.Random, level: int) -> list[str]:
    form = rng.choice(FORMS + ANCHORED_FORMS)
    if form in ANCHORED_FORMS and level == FIRST_LEVEL:
        return [form]
    chosen = [form, *([] if form in ANCHORED_FORMS else [KEYWORDS]), *([FORBIDDEN] if level > FIRST_LEVEL else [])]
    rng.shuffle(chosen)
    return chosen


def _join(chosen: list[str], candidates: list[str], number: int) -> None:
    for candidate in candidates:
        if number <= 0:
            return
        if compatible(candidate, chosen):
            chosen.append(candidate)
            number -= 1
