"""The author's own cases: answers of all four kinds, each with the reward that it states."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from gym_core.check.rule import Failed, Skipped, rule
from gym_core.check.subject import Subject
from gym_core.check.wire import Wire
from gym_core.environment import Call, Script
from gym_core.errors import PalaestraError

FILE_NAME = "cases.jsonl"
KINDS = ("full", "zero", "malformed", "hacked")


class Case(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One line: a row (or `task_ref`), calls if any, the last words or items, and the reward they earn.

    `judged` ones need the recorded judge; the rule `judge` asks them.
    """

    kind: str
    output: str | list[dict[str, Any]]
    reward: float
    row: dict[str, Any] | None = None
    task_ref: dict[str, Any] | None = None
    calls: list[dict[str, Any]] = []
    grading: str = "strict"
    judged: bool = False
    note: str = ""

    @property
    def script(self) -> Script:
        words = self.output if isinstance(self.output, str) else ""
        return Script(tuple(Call(call["name"], call.get("arguments", {})) for call in self.calls), words)

    def played_row(self) -> dict[str, Any]:
        """The row to seed or grade: the server makes a task again from its reference alone."""
        if self.row is not None:
            return self.row
        return {"responses_create_params": {"input": "…"}, "task_ref": self.task_ref}


def read_cases(folder: Path) -> list[Case]:
    """The cases of a folder. Raises `Failed` naming the line that is wrong."""
    path = folder / FILE_NAME
    if not path.is_file():
        raise Failed(f"there is no {FILE_NAME}")
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip():
            continue
        try:
            case = msgspec.json.decode(line, type=Case)
        except msgspec.DecodeError as error:
            raise Failed(f"{FILE_NAME}:{number}: {error}") from None
        if (case.row is None) == (case.task_ref is None):
            raise Failed(f"{FILE_NAME}:{number}: a case has a `row` or a `task_ref`")
        found.append(case)
    return found


@rule(
    "cases",
    "cases.jsonl has full, zero, malformed and hacked answers, and each earns what it states",
    fix="one object a line: kind, row or task_ref, calls, output, reward; write down every attack that you tried",
)
async def cases(subject: Subject) -> str:
    if subject.bare:
        raise Skipped("a bare file has no cases; `palaestra env new` writes a folder with some")
    found = read_cases(subject.folder)
    kinds = Counter(case.kind for case in found)
    if set(kinds) != set(KINDS):
        missing = [kind for kind in KINDS if kind not in kinds]
        raise Failed(f"kinds missing: {', '.join(missing)}" if missing else f"unknown kinds: {set(kinds) - set(KINDS)}")
    if subject.seen.unavailable:
        raise Skipped(subject.seen.unavailable)
    wrong = _bounds(subject, found)
    if not subject.seen.needs_judge:
        wrong += await misjudged(subject.wire, found, judged=False)
    if wrong:
        raise Failed("; ".join(wrong[:4]) + (f"; {len(wrong) - 4} more" if len(wrong) > 4 else ""))
    return ", ".join(f"{kinds[kind]} {kind}" for kind in KINDS)


async def misjudged(wire: Wire, found: list[Case], judged: bool = True) -> list[str]:
    """The cases that earn something else than they state; those for a judge only where there is one."""
    wrong = []
    for number, case in enumerate(found, 1):
        if case.judged and not judged:
            continue
        options = {} if case.grading == "strict" else {"grading": case.grading}
        items = case.output if isinstance(case.output, list) else None
        try:
            played = await wire.play(case.played_row(), case.script, items=items, options=options)
        except PalaestraError as error:
            wrong.append(f"case {number} ({case.kind}): {error}")
            continue
        if not math.isclose(played.reward, case.reward, abs_tol=1e-6):
            wrong.append(f"case {number} ({case.kind}) states {case.reward:g} and earns {played.reward:g}")
    return wrong


def _bounds(subject: Subject, found: list[Case]) -> list[str]:
    """Stated rewards that their kind does not allow."""
    strict = [case for case in found if case.grading == "strict"]
    wrong = [
        f"a {case.kind} case states the maximum"
        for case in strict
        if case.kind in ("malformed", "hacked") and case.reward >= subject.high
    ]
    wrong += [
        f"a zero case states {case.reward:g}" for case in strict if case.kind == "zero" and case.reward > subject.low
    ]
    full = [case.reward for case in strict if case.kind == "full"]
    if not full or max(full) < subject.high or min(full) <= subject.low:
        wrong.append("the full cases do not earn the maximum")
    return wrong
