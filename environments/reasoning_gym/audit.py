"""Measure every generator: does the right answer pay, does anything else, how long and how large is an item?

    python -m environments.reasoning_gym.audit [items per level] [generator …]

prints the table of the README. `junk` is the highest strict reward of answers that are none; `wrapped` that of the
right answer with text around it, twice, or with a second answer; the same under `published` beside them; `floor` the
share of items that the best constant earns strictly.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import Any

from environments.reasoning_gym.catalogue import NUM_LEVELS, Generator, generators
from environments.reasoning_gym.pinned import GRADE_S, MAKE_S, Overran, Raised, pinned

SPRAY = " ".join(map(str, range(200)))
JUNK = ("asdf", SPRAY, "[]", "{}", "None", "nan", "inf", "1e999", "[nan]", '""', "()", ",", "A", "zzz")
CONSTANTS = ("0", "1", "2", "3", "-1", "True", "False", "Yes", "No", "yes", "no", "on", "off", "infeasible", '["No"]')


def wrapped(gold: str) -> tuple[str, ...]:
    """The right answer, not alone."""
    return (
        f"zzz {gold} zzz",
        f"{gold} {gold}",
        f"{gold}\n{gold}",
        f"{gold} or {SPRAY}",
        f"{gold}\nzzz",
        f"zzz\n{gold}",
    )


def graded(method: str, source: dict[str, Any], answer: str) -> float:
    """A grade; what a grader chokes on earns nothing."""
    try:
        return float(pinned().ask(method, source, answer, limit_s=GRADE_S))
    except (Raised, Overran):
        return 0.0


def audit(name: str, entry: Generator, num_items: int) -> dict[str, Any]:
    """Figures of one generator over the levels it plays."""
    figures: dict[str, Any] = {"items": 0, "failed": 0, "seconds": 0.0, "chars": 0, "answer": 0}
    worst: Counter[str] = Counter()
    earned: Counter[str] = Counter()
    for level in range(0 if entry.start is not None else 1, NUM_LEVELS):
        for number in range(num_items):
            source = {"name": name, "level": level, "index": 7919 * number + level}
            began = time.perf_counter()
            try:
                item = pinned().ask("item", source, limit_s=MAKE_S)
            except (Raised, Overran):
                figures["failed"] += 1
                continue
            figures["seconds"] = max(figures["seconds"], time.perf_counter() - began)
            _judge(source, item["question"], item["answer"], worst, earned)
            figures["items"] += 1
            figures["chars"] = max(figures["chars"], len(item["question"]))
            figures["answer"] = max(figures["answer"], len(item["answer"]))
    best = earned.most_common(1)
    figures["floor"] = best[0][1] / figures["items"] if best and figures["items"] else 0.0
    return {**figures, **worst}


def _judge(source: dict[str, Any], question: str, gold: str, worst: Counter[str], earned: Counter[str]) -> None:
    for grading in ("strict", "published"):
        right = graded(grading, source, gold.strip() or '""')
        worst[f"unpaid_{grading}"] += right < 1.0
        for kind, answers in (("junk", (*JUNK, question)), ("wrapped", wrapped(gold) if gold else ())):
            score = max((graded(grading, source, answer) for answer in answers if answer != gold.strip()), default=0.0)
            worst[f"{kind}_{grading}"] = max(worst[f"{kind}_{grading}"], score)  # type: ignore[assignment]
    for constant in CONSTANTS:
        earned[constant] += int(graded("strict", source, constant))


def status(entry: Generator) -> str:
    """What the environment does with a generator, in words."""
    if entry.denied:
        return f"shut out: {entry.denied}"
    return f"rows only: {entry.not_generated}" if entry.not_generated else "open"


def main(num_items: int, only: list[str]) -> None:
    """Print the table, a line for each generator."""
    print("| generator | rule | gold unpaid, of | junk | wrapped | floor | slowest s | prompt, answer | status |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, entry in sorted(generators().items()):
        if only and name not in only:
            continue
        if entry.denied or entry.unsafe:
            print(f"| {name} | {entry.rule} | | | | | | | {status(entry)} |")
            continue
        seen = audit(name, entry, num_items)
        unpaid = f"{seen.get('unpaid_strict', 0)} / {seen.get('unpaid_published', 0)}, {seen['items']}"
        junk, around = (
            f"{seen.get(f'{kind}_strict', 0):.2g} / {seen.get(f'{kind}_published', 0):.2g}"
            for kind in ("junk", "wrapped")
        )
        left_out = f"; {seen['failed']} left out" if seen["failed"] else ""
        print(
            f"| {name} | {entry.rule} | {unpaid} | {junk} | {around} | {seen['floor']:.2f} | {seen['seconds']:.2f}"
            f" | {seen['chars']}, {seen['answer']} | {status(entry)}{left_out} |",
            flush=True,
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 4, sys.argv[2:])
