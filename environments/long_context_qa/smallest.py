"""Level 0: a line of names and numbers that a tiny policy can learn to read.

Ana 41. Ben 73. Cyd 26. Ben?                -> 73
Ana 41. Ben 73. Cyd 26. 26?                 -> Cyd
Ana 41. Ben 73. Ana now 15. Ana?            -> 15
"""

from __future__ import annotations

import random
from typing import Any

from environments.long_context_qa import answers

NAMES = ("Ada", "Ana", "Ben", "Cyd", "Dan", "Eva", "Fay", "Gil", "Hal", "Ida", "Jon", "Kai", "Lea", "Max", "Nia", "Oto")


def make(rng: random.Random) -> dict[str, Any]:
    """Prompt, answer and query."""
    names = rng.sample(NAMES, rng.randint(3, 4))
    numbers = rng.sample(range(10, 100), len(names) + 1)
    said = [f"{name} {number}." for name, number in zip(names, numbers, strict=False)]
    asked = rng.randrange(len(names))
    form = rng.choice(("number", "name", "now"))
    answer, question = answers.number(numbers[asked]), f"{names[asked]}?"
    if form == "name":
        answer, question = answers.name(names[asked], names), f"{numbers[asked]}?"
    elif form == "now":
        said.append(f"{names[asked]} now {numbers[-1]}.")
        answer = answers.number(numbers[-1])
    prompt = f"{' '.join(said)} {question}"
    return {
        "prompt": prompt,
        "answer": answer,
        "family": f"line_{form}",
        "question": prompt,
        "query": {"op": form, "asked": asked},
    }
