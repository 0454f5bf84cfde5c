"""Tasks of any level: constraints drawn so that they fit together, worded, and witnessed.

Level 0 is for the smallest models: one constraint, a prompt of six words, a reply of three. From level 1 to 5 the level
is the number of constraints, and thresholds tighten with it; from 6 on the benchmark's ids join
(`generator_benchmark`). One constraint of each task names a word of its prompt,
so that no constant reply earns anything worth having.
"""

from __future__ import annotations

import random
from typing import Any

from environments.instruction_following.conflicts import compatible
from environments.instruction_following.generator_benchmark import FIRST_LEVEL, choose_benchmark
from environments.instruction_following.instructions import Instruction, witness
from environments.instruction_following.verifiers import REGISTRY, Draw
from environments.instruction_following.witness import Impossible
from environments.instruction_following.words import POOL

LEVELS = range(9)
TRIES = 100
SMALL_POOL = 20
"""The words that level 0 asks for come from so many; its topics from all of them."""

KINDS = ("note", "story", "letter", "poem", "report", "speech")
EXISTENCE = "keywords:existence"
NOT_GENERATED = frozenset(("detectable_format:constrained_response", "language:response_language"))
"""Nothing in these depends on a word of the prompt, and nothing that does combines with them."""

TRAINING = {name: kind for name, kind in REGISTRY.items() if not kind.benchmark}
"""What levels 1 to 5 draw from; the ids of the benchmark come after them, and never change what they draw."""
ANCHORED = sorted(name for name, kind in TRAINING.items() if kind.anchored)
COMPOSABLE = sorted(name for name, kind in TRAINING.items() if not kind.solo)
SOLO = sorted(name for name, kind in TRAINING.items() if kind.solo and not kind.anchored and name not in NOT_GENERATED)


def make(rng: random.Random, level: int) -> dict[str, Any]:
    """Prompt, the fields of a published row, and the witness (hidden)."""
    prompt, instructions, proof = _shortest(rng) if level == 0 else _composed(rng, level)
    benchmark = {"benchmark": True} if any(REGISTRY[name].benchmark for name, _ in instructions) else {}
    return {
        "prompt": prompt,
        "public": {
            "instruction_id_list": [name for name, _ in instructions],
            "kwargs": [given for _, given in instructions],
            "prompt": prompt,
            "grading_mode": "binary",
        },
        "instructions": instructions,
        "mode": "binary",
        "witness": proof,
        **benchmark,
    }


def _shortest(rng: random.Random) -> tuple[str, list[Instruction], str]:
    """`Last word: stone. Write about rain.` and `it is stone`: repeating the end of the prompt is no answer."""
    word, other = rng.sample(POOL[:SMALL_POOL], 2)
    topic = rng.choice([name for name in POOL if name not in (word, other)])
    wish, instruction, proof = rng.choice(
        (
            (f"First word: {word}.", ("first_word:first_word_answer", {"first_word": word}), f"{word} is it"),
            (f"Last word: {word}.", ("last_word:last_word_answer", {"last_word": word}), f"it is {word}"),
            (
                f"Word 2 is {word}.",
                ("keywords:keyword_specific_position", {"keyword": word, "n": 1, "m": 2}),
                f"the {word} is",
            ),
            (
                f"End with: {word} {other}.",
                ("startend:end_checker", {"end_phrase": f"{word} {other}"}),
                f"it is {word} {other}",
            ),
        )
    )
    return f"{wish} Write about {topic}.", [instruction], proof


def _composed(rng: random.Random, level: int) -> tuple[str, list[Instruction], str]:
    for _ in range(TRIES):
        draw = Draw(rng, level)
        topic = draw.word()
        chosen = _choose(rng, level) if level < FIRST_LEVEL else choose_benchmark(rng, level)
        instructions = [(name, REGISTRY[name].sample(draw)) for name in chosen]
        try:
            proof = witness(instructions, rng)
        except Impossible:
            continue
        return _prompt(rng, topic, instructions), instructions, proof
    raise Impossible(f"no compatible constraints for level {level} in {TRIES} draws")


def _choose(rng: random.Random, level: int) -> list[str]:
    if level in (2, 3) and rng.random() < 0.25:
        chosen = [rng.choice(SOLO), EXISTENCE]
        rng.shuffle(chosen)
        return chosen
    first = rng.choice(ANCHORED)
    if level == 1:
        return [first]
    while REGISTRY[first].solo:
        first = rng.choice(ANCHORED)
    chosen = [first]
    for candidate in rng.sample(COMPOSABLE, len(COMPOSABLE)):
        if len(chosen) == level:
            break
        if compatible(candidate, chosen):
            chosen.append(candidate)
    rng.shuffle(chosen)
    return chosen


def _prompt(rng: random.Random, topic: str, instructions: list[Instruction]) -> str:
    wishes = [REGISTRY[name].describe(given) for name, given in instructions]
    if len(instructions) == 1 and REGISTRY[instructions[0][0]].solo:
        return wishes[0]
    ask = f"Write a short {rng.choice(KINDS)} about {topic}."
    if len(wishes) == 1:
        return f"{ask} {wishes[0]}"
    return "\n- ".join([f"{ask}\nFollow these instructions:", *wishes])
