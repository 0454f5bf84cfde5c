"""The making of tasks: at every level, the same each time, different, whole after a trip through JSON."""

from __future__ import annotations

import unicodedata
from collections import Counter
from typing import Any

from gym_core.check.children import ChildFault
from gym_core.check.rule import Failed, Skipped, rule
from gym_core.check.seen import ProbeRequest, SeenTask
from gym_core.check.subject import HASH_SEEDS, Subject

FEW = ("different prompts", "too few prompts")
"""Words of the faults that the `distinct` rule is about (gym_core/generate.py)."""


@rule("tasks", "every level makes tasks, for both splits", fix="`make(rng, level)` must return a task for each level")
async def tasks(subject: Subject) -> str:
    faults = {stage: text for stage, text in subject.seen.faults.items() if not any(word in text for word in FEW)}
    if faults:
        stage, text = next(iter(faults.items()))
        raise Failed(f"{stage}: {text}" + (f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""))
    if not subject.seen.tasks and not subject.seen.faults:
        raise Skipped("no generator, and no row in cases.jsonl that it ingests")
    kind = "generated" if "make" in subject.seen.has else "ingested"
    return f"{len(subject.seen.tasks)} {kind}, {len(subject.seen.levels)} levels"


@rule(
    "rows",
    "rows are valid, and come back from JSON and from the service as they were",
    fix="`public` fields and prompts may hold only what JSON carries: text keys, lists (no tuples, no sets), numbers",
)
async def rows(subject: Subject) -> str:
    lossy = [task.lossy for task in subject.seen.tasks if task.lossy]
    if lossy:
        raise Failed(f"JSON changes {len(lossy)} of {len(subject.seen.tasks)} rows: {lossy[0]}")
    asked = subject.tasks(per_level=2)
    given = [task.row for task in asked]
    said: dict[str, Any] = await subject.wire.client.post_json("/ingest", {"rows": given})
    if said["refused"]:
        error = said["refused"][0]["error"]
        raise Failed(f"its own row is refused: {error['message']} [{error.get('field', '')}]")
    changed = [row["task_id"] for row, back in zip(given, said["tasks"], strict=True) if row != back]
    if changed:
        raise Failed(f"/ingest changes {len(changed)} of {len(given)} rows, {changed[0]} first")
    await _served_rows(subject, asked)
    return f"{len(subject.seen.tasks)} rows"


async def _served_rows(subject: Subject, asked: list[SeenTask]) -> None:
    """What /tasks hands out is what another process made."""
    for task in {task.level: task for task in reversed(asked)}.values():
        if "make" not in subject.seen.has:
            continue
        index = task.row["task_ref"]["index"]
        body = {"seed": subject.options.seed, "level": task.level, "count": 1, "start": index}
        made: dict[str, Any] = await subject.wire.client.post_json("/tasks", body)
        if made["tasks"] != [task.row]:
            raise Failed(f"the service makes another task for level {task.level}, index {index}", DETERMINISM)


DETERMINISM = (
    "draw from the `rng` that `make` is given and from nothing else: no clock, no `random.random()`, no state on"
    " `self`, no order of a set (sort it first)"
)


@rule(
    "deterministic",
    "a task is the same twice, in any order, in another process with another hash seed",
    fix=DETERMINISM,
)
async def deterministic(subject: Subject) -> str:
    if "make" not in subject.seen.has:
        raise Skipped("it generates no tasks")
    unsteady = [task for task in subject.seen.tasks if task.unsteady]
    if unsteady:
        raise Failed(f"made again in one process, {len(unsteady)} of {len(subject.seen.tasks)} tasks are others")
    asked = [task for task in reversed(subject.seen.tasks) if task.split == "train"]
    request = ProbeRequest(
        place=str(subject.place), name=subject.manifest.name, refs=[task.row["task_ref"] for task in asked]
    )
    try:
        seen = await subject.den.probe(request, HASH_SEEDS[1], subject.options.tasks_s)
    except ChildFault as fault:
        raise Failed(str(fault)) from None
    if seen.faults:
        raise Failed(f"another process cannot make them: {next(iter(seen.faults.values()))}")
    other = [task for task, digest in zip(asked, seen.digests, strict=True) if task.digest != digest]
    if other:
        where = other[0].row["task_ref"]
        raise Failed(
            f"with another PYTHONHASHSEED {len(other)} of {len(asked)} tasks are others"
            f" (level {where['level']}, index {where['index']})"
        )
    return f"{len(subject.seen.tasks)} tasks made twice, {len(asked)} in reverse in another process"


@rule(
    "distinct",
    "every level has many different prompts in both splits",
    fix="draw more of what the prompt shows; a level needs hundreds of prompts, level 0 thousands",
)
async def distinct(subject: Subject) -> str:
    if "make" not in subject.seen.has:
        raise Skipped("it generates no tasks")
    few = {stage: text for stage, text in subject.seen.faults.items() if any(word in text for word in FEW)}
    if few:
        raise Failed("; ".join(few.values()))
    made = Counter(_plain(task) for task in subject.seen.tasks)
    repeated = sum(count - 1 for count in made.values())
    if repeated * 10 > len(subject.seen.tasks):
        raise Failed(
            f"{repeated} of {len(subject.seen.tasks)} prompts differ from another only in case or spaces",
            "two tasks must differ in what they ask",
        )
    return f"{len(made)} different prompts"


@rule(
    "splits",
    "no held-out prompt is a training prompt, not even in other letters",
    fix="prompts that ask the same must be the same text: no counters, no decoration, no spaces drawn at random",
)
async def splits(subject: Subject) -> str:
    sides = {
        split: {_plain(task) for task in subject.seen.tasks if task.split == split} for split in ("train", "heldout")
    }
    if not sides["heldout"]:
        raise Skipped("it has no held-out tasks")
    both = sides["train"] & sides["heldout"]
    if both:
        raise Failed(
            f"{len(both)} of {len(sides['heldout'])} held-out prompts are training prompts: {min(both)[:80]!r}"
        )
    return f"{len(sides['train'])} and {len(sides['heldout'])} prompts"


def _plain(task: SeenTask) -> str:
    """A prompt without what is only decoration."""
    return " ".join(unicodedata.normalize("NFKC", task.prompt).casefold().split())
