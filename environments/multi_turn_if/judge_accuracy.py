"""How often a judge agrees with the exact checks: every item of scripted dialogues, asked of answers good and spoilt.

    python -m environments.multi_turn_if.judge_accuracy --config palaestra.toml --tasks 20

tasks ─▶ variants (the best answer, and six ways to spoil it) ─▶ each item: exact check | judge ─▶ agreement, kappa

The judge is that of [judge], so it may also be a recording; what it refuses to rule on is counted, not scored.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from environments.multi_turn_if import rows
from environments.multi_turn_if.environment import MultiTurnIf
from environments.multi_turn_if.items import Item, unpacked
from gym_core.config import load
from gym_core.contracts import Task
from gym_core.errors import JudgeFault, PalaestraError
from gym_core.generate import make_tasks
from gym_core.judge.client import JudgeClient
from gym_core.judge.config import JudgeConfig
from gym_core.judge.protocol import Protocol
from gym_core.judge.protocols import RUBRIC, RUBRIC_PUBLISHED

PERCENT = 100.0


@dataclass(frozen=True, slots=True)
class Asked:
    """One item of one answer: what is so, and what the judge said; None where it gave no ruling."""

    level: int
    kind: str
    variant: str
    holds: bool
    ruled: bool | None


@dataclass(slots=True)
class Agreement:
    """All that was asked, counted."""

    asked: list[Asked] = field(default_factory=list)

    def counts(self, **only: Any) -> Counter[str]:
        """`yes`, `no`: judge and check agree; `too_kind`, `too_harsh`: they do not; `faults`: no ruling."""
        found: Counter[str] = Counter()
        for one in self.asked:
            if all(getattr(one, name) == value for name, value in only.items()):
                found[_outcome(one)] += 1
        return found

    def accuracy(self, **only: Any) -> float | None:
        """Share of the rulings that agree with the checks; None without any ruling."""
        return _share(self.counts(**only))

    def kappa(self) -> float | None:
        """Cohen's kappa: agreement beyond chance, 1 for a judge without a mistake; None where chance says all."""
        found = self.counts()
        total = found.total() - found["faults"]
        if not total:
            return None
        true, said = found["yes"] + found["too_harsh"], found["yes"] + found["too_kind"]
        chance = (true * said + (total - true) * (total - said)) / total**2
        return None if chance == 1.0 else ((found["yes"] + found["no"]) / total - chance) / (1.0 - chance)

    def report(self) -> dict[str, Any]:
        """Everything as one JSON object."""
        axes = {name: sorted({getattr(one, name) for one in self.asked}) for name in ("kind", "level", "variant")}
        parts = {
            name: {str(value): self.accuracy(**{name: value}) for value in values} for name, values in axes.items()
        }
        return {"counts": dict(self.counts()), "accuracy": self.accuracy(), "kappa": self.kappa(), **parts}


def _outcome(one: Asked) -> str:
    if one.ruled is None:
        return "faults"
    if one.ruled == one.holds:
        return "yes" if one.holds else "no"
    return "too_kind" if one.ruled else "too_harsh"


def _share(found: Counter[str]) -> float | None:
    total = found.total() - found["faults"]
    return (found["yes"] + found["no"]) / total if total else None


def variants(best: str, other: str) -> dict[str, str]:
    """The best answer and what is made of it, each once; `other` is the best answer to another task."""
    made = {
        "best": best,
        "one more": re.sub(r"\d+", lambda found: str(int(found[0]) + 1), best),
        "first word missing": best.partition(" ")[2],
        "last word missing": best.rpartition(" ")[0],
        "other letters": best.lower() if best == best.upper() else best.upper(),
        "a remark after it": f"{best} That is the answer, of course.",
        "another answer": other,
    }
    kept: dict[str, str] = {}
    for name, text in made.items():
        if text.strip() and text not in kept.values():
            kept[name] = text
    return kept


async def measure(client: JudgeClient, tasks: Sequence[Task], protocol: Protocol[bool] = RUBRIC) -> Agreement:
    """Ask the judge about every item of every variant of the best answers to these tasks (generated ones)."""
    found = Agreement()
    for task, another in zip(tasks, [*tasks[1:], *tasks[:1]], strict=True):
        level = task.ref.level if task.ref is not None else 0
        wanted = [
            (name, text, item)
            for name, text in variants(task["best"], another["best"]).items()
            for item in unpacked(task["items"])
        ]
        ruled = await asyncio.gather(*(_ruling(client, protocol, task, text, item) for _, text, item in wanted))
        found.asked += [
            Asked(level, item.kind, name, item.holds(text), said)
            for (name, text, item), said in zip(wanted, ruled, strict=True)
        ]
    return found


async def _ruling(client: JudgeClient, protocol: Protocol[bool], task: Task, text: str, item: Item) -> bool | None:
    fields = {"context": rows.context(task), "response": text, "question": item.question}
    if "{expected}" in protocol.template:
        fields["expected"] = "YES"
    try:
        return (await client.judge().ask(protocol, **fields)).value
    except JudgeFault:
        return None


def shown(found: Agreement) -> Iterable[str]:
    """The report as lines of text."""
    report = found.report()
    counts, accuracy, kappa = report["counts"], report["accuracy"], report["kappa"]
    yield f"asked {len(found.asked)}: " + ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    yield f"accuracy {_percent(accuracy)}, kappa {'-' if kappa is None else f'{kappa:.3f}'}"
    for axis in ("kind", "level", "variant"):
        yield axis
        for name, value in report[axis].items():
            yield f"  {name:20} {_percent(value)}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{PERCENT * share:.1f} %"


async def run(options: argparse.Namespace) -> Agreement:
    """Measure the judge of the config file."""
    environment = MultiTurnIf()
    tasks = [
        task
        for level in environment.levels
        for task in make_tasks(environment, seed=options.seed, level=level, count=options.tasks)
    ]
    config = load(JudgeConfig, file=options.config, section="judge")
    async with JudgeClient(config) as client:
        return await measure(client, tasks, RUBRIC_PUBLISHED if options.published else RUBRIC)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 2 where the judge cannot be asked at all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, help="TOML file with a section [judge]")
    parser.add_argument("--tasks", type=int, default=20, help="tasks of each level")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--published", action="store_true", help="the protocol that shows the expected answer")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    try:
        found = asyncio.run(run(options))
    except PalaestraError as error:
        print(error, file=sys.stderr)
        return 2
    if found.counts()["faults"] == len(found.asked):
        print("the judge gave no ruling at all; see [judge] in the config", file=sys.stderr)
        return 2
    print(json.dumps(found.report()) if options.json else "\n".join(shown(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
