"""A value told in sentences: every fact once, each at its place, and sentences that belong to nothing between them."""

from __future__ import annotations

import random
from typing import Any

from environments.structured_outputs.sampler import FLAGS, LABELS

_PLAIN = ("The {subject} is {fact}.",)
_VARIED = (
    "The {subject} is {fact}.",
    "As {subject} the file gives {fact}.",
    "{fact} is what we noted for the {subject}.",
    "For the {subject}, write {fact}.",
)


def document(rng: random.Random, value: Any, *, varied: bool = False, num_noise: int = 0) -> str:
    """The facts of a value as prose. `varied` changes wording and order, `num_noise` sentences state nothing."""
    sentences = _sentences(rng, value, (), _VARIED if varied else _PLAIN)
    if varied:
        rng.shuffle(sentences)
    for _ in range(num_noise):
        noise = f"A neighbour's {rng.choice(LABELS + FLAGS)} was never recorded."
        sentences.insert(rng.randint(0, len(sentences)), noise)
    return " ".join(sentences)


def _sentences(rng: random.Random, value: Any, path: tuple[str, ...], wordings: tuple[str, ...]) -> list[str]:
    if isinstance(value, dict):
        return [line for key, inner in value.items() for line in _sentences(rng, inner, (*path, key), wordings)]
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return [
            line
            for number, item in enumerate(value, start=1)
            for line in _sentences(rng, item, (*path, f"number {number}"), wordings)
        ]
    subject = " ".join(path)
    if isinstance(value, list):
        return [f"The {subject} are, in this order: {', '.join(str(item) for item in value)}."]
    if value is None:
        return [f"The {subject} is unknown."]
    fact = str(value).lower() if isinstance(value, bool) else str(value)
    return [rng.choice(wordings).format(subject=subject, fact=fact)]
