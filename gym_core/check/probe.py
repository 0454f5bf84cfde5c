"""The probe: a process that looks at one environment from inside, where the hidden fields are, and tells the gate.

    python -m gym_core.check.probe < request.json > seen.json

The gate itself never imports what it checks: an environment that hangs, prints or draws from the global generator does
it here, under the guard and a deadline.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import os
import re
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from gym_core.check.seen import ProbeRequest, Seen, SeenTask
from gym_core.contracts import Task, TaskRef
from gym_core.environment import Environment, Script
from gym_core.errors import PalaestraError
from gym_core.generate import SPLITS, iter_tasks, make_task
from gym_core.host import settle
from gym_core.registry import Registry

_METHODS = (
    "make",
    "ingest",
    "setup",
    "close",
    "verify",
    "verify_published",
    "verify_group",
    "verify_group_published",
    "oracle",
    "warm",
    "judge",
    "judge_group",
)
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
MAX_SECRETS = 400


def main() -> None:
    """Read the request from stdin, write what was seen to stdout; what the author prints goes to stderr."""
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=ProbeRequest)
    out = os.dup(1)
    os.dup2(2, 1)
    answer = msgspec.json.encode(asyncio.run(look(request)))
    while answer:
        answer = answer[os.write(out, answer) :]


async def look(request: ProbeRequest) -> Seen:
    """Everything that was asked for. Raises what importing the environment raises."""
    loaded = Registry.at(request.place).load(request.name)
    environment = loaded.cls()
    seen = Seen(
        name=loaded.name,
        version=environment.version,
        doc=environment.__doc__ or "",
        levels=list(environment.levels),
        reward_range=environment.reward_range,
        has=[name for name in _METHODS if environment.overrides(name)],
        tools=[spec.declaration() for spec in environment.tool_specs().values()],
        keeps_sessions=environment.keeps_sessions(),
        worker=environment.worker,
        session_ttl_s=environment.session_ttl_s,
        verify_timeout_s=environment.verify_timeout_s,
        needs_judge=environment.needs_judge,
        unavailable=environment.unavailable(),
        network=loaded.manifest.network,
    )
    with told(seen, "warm"):
        environment.warm()
    before = _numpy_state()
    if request.refs:
        with told(seen, "make"):
            seen.digests = [digest(make_task(environment, msgspec.convert(ref, TaskRef))) for ref in request.refs]
    elif "make" in seen.has:
        await generate(environment, request, seen)
    else:
        await take(environment, request.rows, seen)
    seen.numpy_drawn = _numpy_state() != before
    return seen


async def generate(environment: Environment, request: ProbeRequest, seen: Seen) -> None:
    """Tasks of every level and split, each made once more after all others, in reverse."""
    made: list[tuple[SeenTask, Task]] = []
    spent = 0.0
    for level in environment.levels:
        for split, count in zip(SPLITS, (request.train, request.heldout), strict=True):
            stage = f"make level {level} {split}"
            with told(seen, stage):
                began = time.perf_counter()
                tasks = list(islice(iter_tasks(environment, seed=request.seed, level=level, split=split), count))
                spent += time.perf_counter() - began if split == "train" else 0.0
                made += [(await describe(environment, task), task) for task in tasks]
    for found, task in reversed(made):
        with told(seen, "make again"):
            assert task.ref is not None
            found.unsteady = digest(make_task(environment, task.ref)) != found.digest
    seen.tasks = [found for found, _ in made]
    num_train = sum(found.split == "train" for found in seen.tasks)
    seen.tasks_per_s = num_train / spent if spent > 0 else None


async def take(environment: Environment, rows: Iterable[dict[str, Any]], seen: Seen) -> None:
    """Rows from outside, as `ingest` takes them."""
    for number, row in enumerate(rows):
        with told(seen, f"ingest row {number}"):
            task = await settle(environment.ingest(Task.from_row(row, environment.name)))
            seen.tasks.append(await describe(environment, task))


async def describe(environment: Environment, task: Task) -> SeenTask:
    """A task as the gate needs it."""
    found = SeenTask(row={}, digest=digest(task))
    if task.ref is not None:
        found.level, found.split = task.ref.level, task.ref.split
    row = task.to_row()
    found.row = msgspec.json.decode(msgspec.json.encode(row))
    found.lossy = next(differences(row, found.row, "row"), "")
    for path, text in islice(leaves(task.hidden, ""), MAX_SECRETS):
        found.secrets[path] = text
    if environment.overrides("oracle"):
        try:
            script = await settle(environment.oracle(task))
        except Exception as error:  # the author's code: its failure is what is reported
            found.oracle_error = f"{type(error).__name__}: {error} ({_where(error)})"
        else:
            script = Script(reply=script) if isinstance(script, str) else script
            found.calls = [(call.name, call.arguments) for call in script.calls]
            found.reply = script.reply
    return found


@contextmanager
def told(seen: Seen, stage: str) -> Iterator[None]:
    """The boundary to the author's code: what it raises is noted under its stage."""
    try:
        yield
    except PalaestraError as error:
        seen.faults.setdefault(stage, str(error))
    except Exception as error:
        seen.faults.setdefault(stage, f"{type(error).__name__}: {error} ({_where(error)})")


def _where(error: BaseException) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno}"


# Tasks as text ---------------------------------------------------------------------------------------------------


def digest(task: Task) -> str:
    """A hash of the whole task, hidden fields included, that does not depend on the hash seed."""
    text = canonical([task.to_row(), task.hidden])
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def canonical(value: Any) -> str:
    """A value as text: sets and keys in order, objects by type and fields, addresses left out."""
    if isinstance(value, dict):
        return "{" + ",".join(sorted(f"{canonical(key)}:{canonical(item)}" for key, item in value.items())) + "}"
    if isinstance(value, set | frozenset):
        return "{" + ",".join(sorted(map(canonical, value))) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, str | bytes | int | float | bool) or value is None:
        return repr(value)
    fields = _fields(value)
    return type(value).__name__ + (canonical(fields) if fields else _ADDRESS.sub("", repr(value)))


def _fields(value: Any) -> dict[str, Any]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, msgspec.Struct):
        return {name: getattr(value, name) for name in value.__struct_fields__}
    return dict(vars(value)) if hasattr(value, "__dict__") else {}


def leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """(path, text) of every string and number inside."""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        yield path, str(value)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple | set | frozenset):
        for number, item in enumerate(value):
            yield from leaves(item, f"{path}[{number}]")
    elif value is not None and not callable(value):
        for key, item in _fields(value).items():
            yield from leaves(item, f"{path}.{key}")


def differences(before: Any, after: Any, path: str) -> Iterator[str]:
    """Where a value and what JSON made of it differ, in kind or in worth."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, item in before.items():
            if key not in after:
                yield f"the key {key!r} of {path} ({type(key).__name__}) becomes text"
            else:
                yield from differences(item, after[key], f"{path}.{key}")
    elif isinstance(before, list) and isinstance(after, list):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from differences(one, other, f"{path}[{number}]")
    elif type(before) is not type(after) or before != after:
        yield f"{path} is {type(before).__name__} {str(before)[:40]} and comes back as {type(after).__name__}"


def _numpy_state() -> bytes:
    numpy = sys.modules.get("numpy")
    return b"" if numpy is None else repr(numpy.random.get_state()).encode()


if __name__ == "__main__":
    main()
