"""One environment as a service, without HTTP: tasks, sessions, tools, verdicts, each bounded and with typed errors."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gym_core import tracing
from gym_core.contracts import PendingVerdict, RunOptions, Task, UserMessage, Verdict
from gym_core.crew import Crew
from gym_core.dialogue import user_turn
from gym_core.dispatch import ToolAnswer, call_tool
from gym_core.environment import GroupEntry
from gym_core.errors import (
    BadRequest,
    DeadlineExceeded,
    EnvironmentFault,
    ErrorInfo,
    JudgeFault,
    PalaestraError,
    Unavailable,
    UnknownName,
)
from gym_core.groups import Groups
from gym_core.host import Host
from gym_core.judge.client import JudgeClient
from gym_core.judging import Judging
from gym_core.nearest import nearest
from gym_core.registry import LoadedEnvironment
from gym_core.reply import read_reply
from gym_core.seeds import rng
from gym_core.service_config import EnvironmentServiceConfig
from gym_core.sessions import Sessions
from gym_core.snapshots import Snapshots, state_type
from gym_core.verdict_cache import VerdictCache, verdict_key
from gym_core.within import within
from gym_core.workers import WorkerPool

log = logging.getLogger("palaestra.environment")


class EnvironmentService:
    """One environment, its sessions, its groups, and its place in the crew where it wants workers.

    `crew`, `cache` and `judge` belong to the process and outlive the service; without a crew it has workers of its own.
    """

    def __init__(
        self,
        loaded: LoadedEnvironment,
        config: EnvironmentServiceConfig,
        *,
        secret: bytes,
        worker: str,
        crew: Crew | None = None,
        cache: VerdictCache | None = None,
        judge: JudgeClient | None = None,
    ) -> None:
        self.loaded = loaded
        self.environment = loaded.cls()
        self.host = Host(self.environment)
        self.config = config
        self.sessions = Sessions(
            self.environment,
            secret=secret,
            worker=worker,
            capacity=config.session_capacity,
            snapshots=self._snapshots(worker),
        )
        self.groups = Groups(self._judge_group, self.environment.group_deadline_s)
        self.judging = Judging(self.environment, judge)
        self.keeps_sessions = self.environment.keeps_sessions()
        self.cache = cache if self.host.cacheable else None
        self.cached = {"hit": 0, "miss": 0}
        self.pool: WorkerPool | None = None
        if self.environment.worker:
            self.pool = WorkerPool(
                loaded.spec,
                size=config.workers,
                timeout_s=self.environment.verify_timeout_s,
                queue_limit=config.queue_limit,
                memory_limit_mb=config.worker_memory_mb,
                max_jobs=config.worker_jobs,
                crew=crew,
            )

    def _snapshots(self, worker: str) -> Snapshots | None:
        kind = state_type(type(self.environment)) if self.config.state_dir else None
        if kind is None:
            return None
        return Snapshots(Path(self.config.state_dir) / worker / self.loaded.name, self.environment, kind)

    @property
    def name(self) -> str:
        return self.loaded.name

    def manifest(self) -> dict[str, Any]:
        """What a caller has to know of this environment."""
        environment, manifest = self.environment, self.loaded.manifest
        tools = environment.tool_specs().values()
        return {
            "name": self.name,
            "version": environment.version,
            "description": manifest.description,
            "licence": manifest.licence,
            "aliases": manifest.aliases,
            "rows": manifest.rows,
            "levels": list(environment.levels),
            "tools": [{**spec.declaration(), "read_only": spec.read_only} for spec in tools],
            "keeps_sessions": self.keeps_sessions,
            "group_verdict": self.host.judges_groups,
            "user_turns": environment.talks(),
            "max_turns": environment.max_turns if environment.talks() else 1,
            "max_steps": environment.max_steps,
            "reward_range": list(environment.reward_range),
            "gradings": self.host.gradings,
            "judged": self.judging.active,
            "unavailable": self.environment.unavailable(),
            "session_ttl_s": self.sessions.ttl_s,
        }

    def restore(self) -> None:
        """Begin to bring back the sessions that a server before this one left."""
        self.sessions.restore(self._resolve_again)

    async def _resolve_again(self, row: dict[str, Any]) -> Task:
        with author("restore"):
            task: Task = await self._ask("resolve", row)
            return task

    async def close(self) -> None:
        """Leave sessions to the next server where they are kept, else close them; forget the groups, take no more
        jobs; workers of its own are killed."""
        await self.groups.close()
        await self.sessions.leave_all()
        if self.pool is not None:
            await self.pool.close()

    # Tasks -------------------------------------------------------------------------------------------------------

    async def tasks(self, *, seed: int, level: int, count: int, split: str, start: int) -> list[dict[str, Any]]:
        """Rows of generated tasks, hidden fields absent."""
        with author("tasks"):
            tasks = await self._ask("tasks", seed, level, count, split, start, limit_s=self.config.tasks_s)
        return [task.to_row() for task in tasks]

    async def ingest(self, rows: list[Any]) -> tuple[list[dict[str, Any] | None], list[dict[str, Any]]]:
        """Each row as the environment takes it, None where it refuses; and the refusals with their index."""
        taken: list[dict[str, Any] | None] = [None] * len(rows)
        refused: list[dict[str, Any]] = []
        left = iter(enumerate(rows))

        async def feed() -> None:
            for number, row in left:
                task = await self._ingest_one(row)
                if isinstance(task, ErrorInfo):
                    refused.append({"row": number, "error": task})
                else:
                    taken[number] = task.to_row()
                if self.pool is None and number % 64 == 63:
                    await asyncio.sleep(0)

        await asyncio.gather(*(feed() for _ in range(self.pool.size if self.pool else 1)))
        refused.sort(key=lambda refusal: refusal["row"])
        return taken, refused

    async def _ingest_one(self, row: Any) -> Task | ErrorInfo:
        try:
            with author("ingest"):
                task: Task = await self._ask("resolve", row)
                return task
        except (BadRequest, EnvironmentFault, DeadlineExceeded) as error:
            return error.info()

    # Sessions ----------------------------------------------------------------------------------------------------

    async def seed(self, row: dict[str, Any], options: RunOptions, key: str = "") -> str:
        """A session for this row; its id."""
        with author("seed_session"), tracing.span("seed_session"):
            self._require()
            task = await self._ask("resolve", row)
            draw = rng("session", options.seed, task.task_id, options.repeat)
            return await self.sessions.open(task, draw, key)

    async def call(self, name: str, arguments: bytes, session_id: str, limit_s: float) -> ToolAnswer:
        """A tool call in a session, after those that came before it. Raises `BadSession`, `DeadlineExceeded`."""
        with author("tool"), tracing.span("tool", **{"palaestra.tool": name}):
            return await within(limit_s, self._call(name, arguments, session_id))

    async def _call(self, name: str, arguments: bytes, session_id: str) -> ToolAnswer:
        async with self.sessions.using(session_id) as session:
            return await call_tool(self.environment, session, name, arguments)

    async def user_turn(
        self, output: list[dict[str, Any]], session_id: str, key: str = "", limit_s: float | None = None
    ) -> UserMessage:
        """What the user answers to the policy's words of this turn. Raises `BadSession`, `Conflict` after the end."""
        with author("user"):
            async with asyncio.timeout(limit_s), self.sessions.using(session_id) as session:
                return await user_turn(self.environment, session, output, key)

    def unknown_tool(self, name: str) -> UnknownName:
        """The error for a path that is neither a route nor a tool."""
        tools = list(self.environment.tool_specs())
        near = nearest(name, tools) or tools
        hint = f"there are: {', '.join(near)}" if near else "this environment has no tools"
        return UnknownName(f"environment {self.name!r} has no tool {name!r}", field="tool", hint=hint)

    # Verdicts ----------------------------------------------------------------------------------------------------

    async def verify(
        self,
        row: dict[str, Any] | None,
        output: list[dict[str, Any]],
        options: RunOptions,
        session_id: str = "",
        limit_s: float | None = None,
    ) -> Verdict | PendingVerdict:
        """The verdict on an output, of the session's task where there is a session, else of the row's."""
        with author("verify"), tracing.span("verify"):
            self._require()
            if session_id:
                async with self.sessions.using(session_id) as session:
                    return await self._verify(session.task, session, output, options, limit_s)
            if self.keeps_sessions:
                raise BadRequest(
                    f"environment {self.name!r} keeps sessions, the verdict is about one",
                    field="session_id",
                    hint="POST /seed_session with the row first",
                )
            return await self._verify(row or {}, None, output, options, limit_s)

    def _require(self) -> None:
        """Raises `Unavailable` where this machine lacks what rollouts need: that is never a reward."""
        if missing := self.environment.unavailable():
            what, _, how = missing.partition("; ")
            raise Unavailable(f"{self.name}: {what}", hint=how, server="environment")

    async def _verify(
        self,
        given: Task | dict[str, Any],
        session: Any,
        output: list[dict[str, Any]],
        options: RunOptions,
        limit_s: float | None,
    ) -> Verdict | PendingVerdict:
        self.judging.require()
        if not self.host.judges_groups:
            return await self._verdict(given, session, output, options, limit_s)
        if not options.group_id or not options.rollout_id:
            raise BadRequest(
                f"environment {self.name!r} judges groups: say which group and which member this is",
                field="palaestra.group_id" if not options.group_id else "palaestra.rollout_id",
            )
        task = given if isinstance(given, Task) else await self._ask("resolve", given, limit_s=limit_s)
        self.host.check_grading(options.grading)
        self.judging.require(task)
        entry = GroupEntry(options.rollout_id, task, read_reply(output), options.grading)
        return self.groups.add(options.group_id, options.group_size, entry)

    async def _verdict(
        self,
        given: Task | dict[str, Any],
        session: Any,
        output: list[dict[str, Any]],
        options: RunOptions,
        limit_s: float | None,
    ) -> Verdict:
        """What `verify` says, known already or not, and then the judge's word where there is one."""
        began = time.monotonic()
        method = "grade_for_judge" if self.judging.active or self.environment.overrides("judge_decides") else "grade"

        async def grade() -> Any:
            return await self._ask(method, given, session, output, options.grading, limit_s=limit_s)

        if self.cache is None or not isinstance(given, dict):
            graded = await grade()
        else:
            key = verdict_key(self.name, self.environment.version, options.grading, given, output)
            graded, known = await within(limit_s, self.cache.fetch(key, grade))
            self.cached["hit" if known else "miss"] += 1
        if method == "grade":
            plain: Verdict = graded
            return plain
        verdict, task = graded
        if not self.judging.active:
            self.judging.require(task)
            told: Verdict = verdict
            return told
        left_s = None if limit_s is None else limit_s - (time.monotonic() - began)
        with author("judge"), tracing.span("judge"):
            return await self.judging.verdict(task, session, output, verdict, left_s)

    async def _judge_group(self, entries: list[GroupEntry]) -> Sequence[Verdict | JudgeFault]:
        with author("verify_group"), tracing.span("verify_group"):
            limit_s = max(self.environment.group_deadline_s, self.environment.verify_timeout_s)
            verdicts: list[Verdict] = await self._ask("grade_group", entries, limit_s=limit_s)
        if not self.judging.active:
            return verdicts
        with author("judge"), tracing.span("judge"):
            return await self.judging.group(entries, verdicts)

    async def _ask(self, method: str, *args: Any, limit_s: float | None = None) -> Any:
        """Call the host: in a worker where the environment wants that, else here."""
        if self.pool is not None:
            async with asyncio.timeout(limit_s):
                own = limit_s if method in ("tasks", "grade_group") else None
                return await self.pool.call(method, *args, timeout_s=own)
        if not self.host.needs_loop:
            return await getattr(self.host, method)(*args)
        async with asyncio.timeout(min(limit_s or self.environment.verify_timeout_s, self._longest(method))):
            return await getattr(self.host, method)(*args)

    def _longest(self, method: str) -> float:
        if method == "tasks":
            return self.config.tasks_s
        if method == "grade_group":
            return max(self.environment.group_deadline_s, self.environment.verify_timeout_s)
        return self.environment.verify_timeout_s


@contextmanager
def author(stage: str) -> Iterator[None]:
    """The boundary to the author's code: whatever it raises leaves as a `PalaestraError` that knows its stage."""
    try:
        yield
    except PalaestraError as error:
        error.stage = error.stage or stage
        raise
    except TimeoutError:
        raise DeadlineExceeded(f"{stage} took longer than it may", stage=stage) from None
    except Exception as error:
        log.exception("the environment's code failed in %s", stage)
        raise EnvironmentFault(f"the environment raised {type(error).__name__}: {error}", stage=stage) from error
