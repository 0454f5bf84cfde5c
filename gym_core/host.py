"""What the service asks of one environment object, here or in a worker: tasks, a task from a row, a verdict.

The same class runs in the service's process (`worker = False`) and inside each worker (`worker = True`), so there is
one place where a row becomes a task and a returned number becomes a verdict.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import pickle
import time
from collections import OrderedDict
from collections.abc import Coroutine, Hashable
from numbers import Real
from typing import Any

from gym_core.contracts import Grading, Task, TaskRef, Verdict, content_id
from gym_core.environment import Environment, GroupEntry, Session
from gym_core.errors import BadRequest, BadRow, EnvironmentFault, PalaestraError
from gym_core.generate import iter_tasks, make_task
from gym_core.reply import read_reply

MAX_TASKS = 10_000
"""Tasks in one reply."""

BREATH_S = 0.005
"""Longest stretch of task making before the event loop gets its turn."""

CACHED_TASKS = 1024
AUTHOR_METHODS = ("make", "ingest", "verify", "verify_published", "verify_group", "verify_group_published")


class Host:
    """One environment object and the calls of the service on it."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.judges_groups = environment.overrides("verify_group")
        self.publishes = environment.overrides("verify_group_published" if self.judges_groups else "verify_published")
        self.needs_loop = any(inspect.iscoroutinefunction(getattr(environment, name)) for name in AUTHOR_METHODS)
        """False where no author's method is a coroutine: then `run_now` is enough."""
        self.cacheable = _cacheable(environment)
        """Whether a verdict follows from task and reply alone."""
        self._ingests = environment.overrides("ingest")
        self._cache: OrderedDict[Hashable, bytes] = OrderedDict()

    @property
    def gradings(self) -> list[str]:
        return [Grading.STRICT.value, Grading.PUBLISHED.value] if self.publishes else [Grading.STRICT.value]

    async def tasks(self, seed: int, level: int, count: int, split: str = "train", start: int = 0) -> list[Task]:
        """`count` different tasks. Raises `BadRequest` naming the argument that does not fit."""
        if not 1 <= count <= MAX_TASKS:
            raise BadRequest(f"`count` is 1..{MAX_TASKS}, not {count}", field="count")
        tasks: list[Task] = []
        breath = time.monotonic() + BREATH_S
        for task in iter_tasks(self.environment, seed=seed, level=level, split=split, start=start):
            tasks.append(task)
            if len(tasks) == count:
                break
            if time.monotonic() > breath:
                await asyncio.sleep(0)
                breath = time.monotonic() + BREATH_S
        return tasks

    async def resolve(self, row: dict[str, Any]) -> Task:
        """The task that a row means, hidden fields included: made again from its `task_ref`, else ingested.

        Raises `BadRow` with the field's path.
        """
        if isinstance(row, dict) and "responses_create_params" not in row and "task_ref" not in row:
            row = self.environment.reshape(row)
        given = Task.from_row(row, self.environment.name)
        if given.ref is not None:
            maker = row.get("environment") or given.environment
            if maker != given.environment:
                raise BadRow(f"the row was made by {maker!r}, this is {given.environment!r}", field="environment")
            return self._remake(given, given.ref)
        if not self._ingests:
            return given
        key = content_id(given.responses_create_params, given.fields)
        task = self._cached(key)
        if task is None:
            task = await settle(self.environment.ingest(given))
            if not isinstance(task, Task):
                raise EnvironmentFault(f"`ingest` must return a Task, not {type(task).__name__}", stage="ingest")
            self._remember(key, task)
        task.task_id = given.task_id
        return task

    async def grade(
        self,
        given: Task | dict[str, Any],
        session: Session | None,
        output: list[dict[str, Any]],
        grading: Grading = Grading.STRICT,
    ) -> Verdict:
        """The verdict on a Responses `output`. Anything that `verify` raises passes through, except under the grading
        that was not asked for."""
        self.check_grading(grading)
        task = given if isinstance(given, Task) else await self.resolve(given)
        session = session or Session(session_id="", task=task)
        reply = read_reply(output)
        strict = self.judge(await settle(self.environment.verify(task, session, reply)))
        if not self.publishes:
            return strict
        try:
            published = self.judge(
                await settle(self.environment.verify_published(task, session, reply)), Grading.PUBLISHED
            )
        except PalaestraError:
            raise
        except Exception as error:
            if grading is Grading.PUBLISHED:
                raise
            strict.details["published_error"] = type(error).__name__
            return strict
        chosen = published if grading is Grading.PUBLISHED else strict
        chosen.grading = grading
        chosen.gradings = {Grading.STRICT: strict.reward, Grading.PUBLISHED: published.reward}
        return chosen

    async def grade_for_judge(
        self,
        given: Task | dict[str, Any],
        session: Session | None,
        output: list[dict[str, Any]],
        grading: Grading = Grading.STRICT,
    ) -> tuple[Verdict, Task]:
        """As `grade`, together with the task, hidden fields included: what the author's `judge` needs."""
        task = given if isinstance(given, Task) else await self.resolve(given)
        return await self.grade(task, session, output, grading), task

    async def grade_group(self, entries: list[GroupEntry]) -> list[Verdict]:
        """One verdict for each entry, in order, under the grading that the entries share."""
        strict = await self._group("verify_group", entries, Grading.STRICT)
        if not self.publishes:
            return strict
        published = await self._group("verify_group_published", entries, Grading.PUBLISHED)
        grading = entries[0].grading
        chosen = published if grading is Grading.PUBLISHED else strict
        for verdict, one, other in zip(chosen, strict, published, strict=True):
            verdict.grading = grading
            verdict.gradings = {Grading.STRICT: one.reward, Grading.PUBLISHED: other.reward}
        return chosen

    async def _group(self, method: str, entries: list[GroupEntry], grading: Grading) -> list[Verdict]:
        results = await settle(getattr(self.environment, method)(entries))
        if not isinstance(results, list) or len(results) != len(entries):
            got = f"{len(results)} verdicts" if isinstance(results, list) else type(results).__name__
            raise EnvironmentFault(f"`{method}` must return {len(entries)} verdicts in a list, not {got}")
        return [self.judge(result, grading) for result in results]

    def check_grading(self, grading: Grading) -> None:
        """Raises `BadRequest` for a grading that the environment does not know."""
        if grading is Grading.PUBLISHED and not self.publishes:
            raise BadRequest(
                f"environment {self.environment.name!r} has no published grading",
                field="palaestra.grading",
                hint="leave it out, or ask for 'strict'",
            )

    def judge(self, result: Any, grading: Grading = Grading.STRICT) -> Verdict:
        """What `verify` returned, as a verdict of its own. Raises `EnvironmentFault` for what is not a reward."""
        if isinstance(result, Verdict):
            verdict = Verdict(reward=result.reward, components=result.components, details=dict(result.details))
        elif isinstance(result, Real):
            verdict = Verdict(reward=_finite(float(result), "reward"))
        else:
            raise EnvironmentFault(f"`verify` must return a number or a Verdict, not {type(result).__name__}")
        low, high = self.environment.reward_range
        if grading is Grading.PUBLISHED and self.environment.published_range is not None:
            low, high = self.environment.published_range
        if not low <= _finite(verdict.reward, "reward") <= high:
            raise EnvironmentFault(f"the reward {verdict.reward} lies outside reward_range {low}..{high}")
        for name, value in verdict.components.items():
            _finite(value, f"component {name!r}")
        verdict.gradings = {Grading.STRICT: verdict.reward}
        return verdict

    def _remake(self, given: Task, ref: TaskRef) -> Task:
        name, version = self.environment.name, self.environment.version
        made_by = given.fields.get("environment_version", version)
        if made_by != version:
            raise BadRow(
                f"the row was made by version {made_by} of {name!r}, this is {version}",
                field="environment_version",
                hint="ask /tasks for rows of this version",
            )
        task = self._cached(ref)
        if task is None:
            task = make_task(self.environment, ref)
            self._remember(ref, task)
        if given.task_id.startswith(f"{name}-") and given.task_id != task.task_id:
            raise BadRow(f"task_ref makes {task.task_id}, the row says {given.task_id}", field="task_id")
        return task

    def _cached(self, key: Hashable) -> Task | None:
        packed = self._cache.get(key)
        if packed is None:
            return None
        self._cache.move_to_end(key)
        task: Task = pickle.loads(packed)
        return task

    def _remember(self, key: Hashable, task: Task) -> None:
        """Kept as bytes: each use gets a copy, so that a session which changes its task changes no other one."""
        try:
            self._cache[key] = pickle.dumps(task, pickle.HIGHEST_PROTOCOL)
        except (pickle.PicklingError, TypeError, AttributeError):
            return  # hidden fields that cannot be copied are made anew each time
        if len(self._cache) > CACHED_TASKS:
            self._cache.popitem(last=False)


def _cacheable(environment: Environment) -> bool:
    """A `verify` that is a coroutine waits for something else, whose answer may change."""
    waits = any(inspect.iscoroutinefunction(getattr(environment, name)) for name in ("verify", "verify_published"))
    alone = not environment.keeps_sessions() and not environment.overrides("verify_group")
    return environment.pure and alone and not waits


def _finite(value: float, what: str) -> float:
    if not (type(value) is float or isinstance(value, Real)) or not math.isfinite(value):
        raise EnvironmentFault(f"the {what} must be a finite number, not {value!r}")
    return value


_PLAIN = frozenset((float, int, bool, str, dict, list, type(None), Verdict))
"""What authors return as a rule: seen at a glance not to be awaitable."""


async def settle(value: Any) -> Any:
    """The value, awaited where the author's method is a coroutine."""
    return value if type(value) in _PLAIN or not inspect.isawaitable(value) else await value


def run_now(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that waits for nothing, without an event loop; what it calls may start loops of its own."""
    try:
        while coroutine.send(None) is None:  # a bare yield is `asyncio.sleep(0)`
            continue
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise RuntimeError("a coroutine that needs an event loop was run without one")
