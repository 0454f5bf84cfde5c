"""Generated tasks: unlimited, seeded, split without overlap, their hidden fields never on the wire.

A task is named by (seed, level, index, split); the server makes it again from that name whenever it is needed. Which
split a task belongs to is a property of its prompt (one prompt in eight is held out), so no task of one split can
appear in the other, whatever the seeds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec

from gym_core.contracts import Task, TaskRef
from gym_core.environment import Environment
from gym_core.errors import BadRequest
from gym_core.seeds import rng

SPLITS = ("train", "heldout")
HELDOUT_SHARE = 8
"""One prompt in so many is held out."""

MAX_ATTEMPTS = 4096


def split_of(params: dict[str, Any]) -> str:
    """The split that owns this prompt, by its hash."""
    digest = hashlib.blake2b(msgspec.json.encode(params["input"], order="deterministic"), digest_size=4).digest()
    return "heldout" if int.from_bytes(digest, "little") % HELDOUT_SHARE == 0 else "train"


def make_task(environment: Environment, ref: TaskRef) -> Task:
    """The task of that name. Raises `BadRequest` for a level or split that does not exist, or no generator."""
    if not environment.overrides("make"):
        raise BadRequest(f"environment {environment.name!r} generates no tasks", hint="give it rows")
    if ref.level not in environment.levels:
        levels = f"{environment.levels.start}..{environment.levels.stop - 1}"
        raise BadRequest(
            f"environment {environment.name!r} has levels {levels}, not {ref.level}", field="task_ref.level"
        )
    if ref.split not in SPLITS:
        raise BadRequest(f"a split is one of {', '.join(SPLITS)}, not {ref.split!r}", field="task_ref.split")
    for attempt in range(MAX_ATTEMPTS):
        draw = rng(environment.name, environment.version, ref.seed, ref.level, ref.index, attempt)
        task = _task(environment, ref, environment.make(draw, ref.level))
        if split_of(task.responses_create_params) == ref.split:
            return task
    raise BadRequest(f"level {ref.level} of {environment.name!r} has too few prompts for a split {ref.split!r}")


def make_tasks(
    environment: Environment, *, seed: int, level: int, count: int, split: str = "train", start: int = 0
) -> list[Task]:
    """`count` tasks with different prompts. Raises `BadRequest` when the level has not that many."""
    return list(islice(iter_tasks(environment, seed=seed, level=level, split=split, start=start), count))


def iter_tasks(
    environment: Environment, *, seed: int, level: int, split: str = "train", start: int = 0
) -> Iterator[Task]:
    """Tasks with different prompts, one after another. Raises `BadRequest` when the level has no more."""
    seen: set[str] = set()
    repeats = 0
    index = start
    while repeats < MAX_ATTEMPTS:
        task = make_task(environment, TaskRef(seed=seed, level=level, index=index, split=split))
        index += 1
        if task.task_id in seen:
            repeats += 1
            continue
        seen.add(task.task_id)
        repeats = 0
        yield task
    raise BadRequest(f"level {level} of {environment.name!r} has only {len(seen)} different prompts in {split!r}")


def _task(environment: Environment, ref: TaskRef, made: dict[str, Any]) -> Task:
    hidden = dict(made)
    prompt = hidden.pop("prompt")
    system = hidden.pop("system", None)
    names = hidden.pop("tools", None)
    public = hidden.pop("public", {})
    items = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
    if system:
        items = [{"role": "system", "content": system}, *items]
    params: dict[str, Any] = {"input": items}
    specs = environment.tool_specs()
    listed = specs if names is None else names
    if specs or listed:  # a name is a method here, a declaration a form that the policy only answers with
        params["tools"] = [tool if isinstance(tool, dict) else specs[tool].declaration() for tool in listed]
        params["parallel_tool_calls"] = True
    digest = hashlib.blake2b(msgspec.json.encode(items, order="deterministic"), digest_size=8).hexdigest()
    return Task(
        environment=environment.name,
        task_id=f"{environment.name}-{digest}",
        responses_create_params=params,
        fields={"environment_version": environment.version, **public},
        ref=ref,
        hidden=hidden,
    )
