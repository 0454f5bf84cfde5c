"""Rollouts in flight: bounded in number, found again by id, stored before anybody hears of them.

A rollout runs as a task of its own, so a caller that hangs up loses nothing: asking again with the same `rollout_id`
joins the one under way or returns the stored one. One is taken back when the last stream that waits for it is left, and
never once it is on its way into the store: what is told is what is kept. One that the store refuses is told by a batch
as `env_error` of the stage `store`, without reward or tokens; the others of its batch go on.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncGenerator
from typing import Any

import msgspec

from agent_server.config import AgentConfig
from agent_server.metrics import AgentMetrics
from agent_server.play import Play
from agent_server.player import SERVER, Player
from gym_core import telemetry
from gym_core.contracts import RUN_KEY, Rollout, RunOptions, Task
from gym_core.errors import BadRequest, BadRow, Busy, Conflict, PalaestraError, misfit
from gym_core.seeds import derive
from gym_core.store import Store

log = telemetry.logger(SERVER)

MAX_NAME = 512
"""Characters of a rollout's, run's or group's id."""


class Request(msgspec.Struct):
    """A row that passed the door. `named`: the caller gave its id; `stored`: what is kept under that id already, as it
    was when so many rollouts had `ended` here."""

    row: dict[str, Any]
    task: Task
    options: RunOptions
    named: bool = True
    stored: tuple[Rollout, bytes] | None = None
    ended: int = -1


def read_request(row: Any) -> Request:
    """Check a row and its options. Raises `BadRow` or `BadRequest` with the field's path."""
    task = Task.from_row(row)
    given = row.get(RUN_KEY, {})
    try:
        options = msgspec.convert(given, RunOptions)
    except msgspec.ValidationError as error:
        what, where = misfit(error)
        raise BadRequest(what, field=f"{RUN_KEY}{where}") from None
    _check_names(task, options)
    most = task.responses_create_params.get("max_output_tokens")
    if most is not None and (type(most) is not int or most < 1):
        field = "responses_create_params.max_output_tokens"
        raise BadRow(f"`max_output_tokens` must be a number of tokens, not {most!r:.80}", field=field)
    named = bool(options.rollout_id)
    if not named:
        options = msgspec.structs.replace(options, rollout_id=os.urandom(16).hex())
    if "seed" not in given:
        # The same row asked twice is two samples of it, not one sample twice.
        options = msgspec.structs.replace(options, seed=derive(0, options.rollout_id))
    if options.deadline_s <= 0:
        raise BadRequest("`deadline_s` must be above 0", field=f"{RUN_KEY}.deadline_s")
    return Request({key: value for key, value in row.items() if key != RUN_KEY}, task, options, named)


def _check_names(task: Task, options: RunOptions) -> None:
    """Names become headers and columns of a table: what those refuse is refused before it is played."""
    for field in ("rollout_id", "run_id", "group_id"):
        name = getattr(options, field)
        if len(name) > MAX_NAME or not name.isprintable():
            what = f"of {len(name)} characters" if len(name) > MAX_NAME else ascii(name)
            hint = f"at most {MAX_NAME} characters, all of them printable"
            raise BadRequest(f"a name cannot be {what}", field=f"{RUN_KEY}.{field}", hint=hint)
    if "\0" in task.task_id or len(task.task_id) > MAX_NAME:
        what = "with a NUL character" if "\0" in task.task_id else f"of {len(task.task_id)} characters"
        raise BadRequest(f"a task's name cannot be one {what}", field="task_id", hint=f"at most {MAX_NAME} characters")


class Rollouts:
    """Runs requests through the player, `max_running` at a time."""

    def __init__(self, config: AgentConfig, player: Player, store: Store | None, metrics: AgentMetrics) -> None:
        self._config = config
        self._player = player
        self._store = store
        self._running = asyncio.Semaphore(config.max_running)
        self._tasks: dict[str, asyncio.Task[Play]] = {}
        self._under_way: dict[str, Request] = {}
        self._runs: dict[str, set[str]] = {}
        self._waiting: Counter[str] = Counter()
        self._storing: set[str] = set()
        self._metrics = metrics
        self._num_running = self._num_ended = self._num_untold = 0
        metrics.untold.set_function(lambda: self._num_untold)
        metrics.running.set_function(lambda: self._num_running)
        metrics.storing.set_function(lambda: len(self._storing))
        metrics.queued.set_function(lambda: max(0, len(self._tasks) - self._num_running - len(self._storing)))

    def check_room(self, count: int) -> None:
        """Raises `Busy` where the server cannot take so many more. Those count that a slow reader has yet to take."""
        held = len(self._tasks) + self._num_untold
        if held + count > self._config.max_queued:
            raise Busy(
                f"{held} rollouts are queued or wait for their reader, {self._config.max_queued} is the bound",
                hint="send fewer at a time, or raise max_queued",
                retry_after_s=1.0,
            )

    async def look_up(self, requests: list[Request]) -> None:
        """Find what is stored under ids that callers gave: it is told again, not played again.

        Raises `Conflict` for an id that names a rollout of another task, stored or under way.
        """
        for request in requests:
            known = self._under_way.get(request.options.rollout_id)
            if known is not None:
                _check_same_task(known.task.task_id, request)
        store, ended = self._store, self._num_ended
        if store is None:
            return
        # What was looked up since the last rollout ended is so still, as far as this server knows.
        unknown = [one for one in requests if one.named and one.stored is None and one.ended != ended]
        if len(unknown) == 1:
            await self._look_up(store, unknown[0])
        elif unknown:
            await asyncio.gather(*(self._look_up(store, one) for one in unknown))
        for one in unknown:
            one.ended = ended

    @staticmethod
    async def _look_up(store: Store, request: Request) -> None:
        request.stored = await store.get_rollout(request.options.rollout_id)
        if request.stored is not None:
            _check_same_task(request.stored[0].task_id, request)

    def start(self, request: Request) -> asyncio.Task[Play]:
        """Begin a rollout, or join the one of that id which is under way; whoever does waits for it, for good.

        Raises `Conflict` where the one under way is of another task.
        """
        options = request.options
        known = self._under_way.get(options.rollout_id)
        if known is not None:
            _check_same_task(known.task.task_id, request)
        self._waiting[options.rollout_id] += 1
        if known is not None:
            return self._tasks[options.rollout_id]
        task = asyncio.create_task(self._run(request), name=f"rollout-{options.rollout_id}")
        self._under_way[options.rollout_id], self._tasks[options.rollout_id] = request, task
        self._runs.setdefault(options.run_id, set()).add(options.rollout_id)
        task.add_done_callback(lambda _: self._forget(options))
        return task

    def _forget(self, options: RunOptions) -> None:
        self._num_ended += 1
        self._tasks.pop(options.rollout_id, None)
        self._under_way.pop(options.rollout_id, None)
        self._waiting.pop(options.rollout_id, None)
        members = self._runs.get(options.run_id, set())
        members.discard(options.rollout_id)
        if not members:
            self._runs.pop(options.run_id, None)

    async def _run(self, request: Request) -> Play:
        try:
            # Only now does the id belong to this task: one that ended a moment ago was joined by nobody, but is kept.
            await self.look_up([request])
            if request.stored is not None:
                return self._player.recalled(request.row, request.task, request.options, *request.stored)
            await self._running.acquire()
        except asyncio.CancelledError:
            play = self._player.taken_back(request.row, request.task, request.options)
        else:
            self._num_running += 1
            try:
                play = await self._player.play(request.row, request.task, request.options)
            finally:
                self._num_running -= 1
                self._running.release()
        self._metrics.ended(play.rollout)
        return play if self._store is None else await self._keep(self._store, play, request)

    async def _keep(self, store: Store, play: Play, request: Request) -> Play:
        """Taken back or not, what was played is kept; where another server kept one of this id, that one is told."""
        name = play.rollout.rollout_id
        self._storing.add(name)
        try:
            with self._metrics.stage(play.rollout.environment, "store"):
                if not await store.put_rollout(play.rollout, play.blob, request.row):
                    await self._look_up(store, request)
        except PalaestraError as error:  # perhaps nobody waits any more who would say so
            log.warning("rollout %s is not kept: %s", name, error, extra={"code": error.code})
            raise
        finally:
            self._storing.discard(name)
        if request.stored is None:
            return play
        return self._player.recalled(request.row, request.task, request.options, *request.stored)

    async def stored(self, rollout_id: str) -> tuple[Rollout, bytes] | None:
        return None if self._store is None else await self._store.get_rollout(rollout_id)

    async def stream(self, requests: list[Request]) -> AsyncGenerator[tuple[Rollout, bytes], None]:
        """Rollouts in the order they finish. Leaving the iteration takes the unfinished back that nobody waits for."""
        asked: dict[asyncio.Task[Play], Request] = {}
        finished: asyncio.Queue[asyncio.Task[Play]] = asyncio.Queue()

        def end(task: asyncio.Task[Play]) -> None:
            if task in asked:
                self._num_untold += 1
                finished.put_nowait(task)

        try:
            for request in requests:
                task = self.start(request)
                asked[task] = request
                task.add_done_callback(end)
            while asked:
                task = await finished.get()
                self._num_untold -= 1
                play = self._result(task, asked.pop(task))
                yield play.rollout, play.blob
        finally:
            self._num_untold -= finished.qsize()
            for task, request in asked.items():
                if not task.done():  # one that has ended is waited for by nobody, and its id may begin anew
                    self._leave(request.options.rollout_id)
            asked.clear()

    def _result(self, task: asyncio.Task[Play], request: Request) -> Play:
        """What a rollout came to; where it could not be looked up or kept, that is its outcome, and of it alone."""
        try:
            return task.result()
        except PalaestraError as error:
            return self._player.unkept(request.row, request.task, request.options, error)

    def cancel(self, run_id: str | None, rollout_ids: list[str]) -> int:
        """Take rollouts back; returns how many were under way. They end as `cancelled` and are stored."""
        wanted = set(rollout_ids)
        if run_id is not None:
            wanted |= self._runs.get(run_id, set())
        found = [name for name in wanted if name in self._tasks and name not in self._storing]
        for name in found:
            self._take_back(name)
        return len(found)

    def _leave(self, name: str) -> None:
        self._waiting[name] -= 1
        if self._waiting[name] <= 0:
            self._take_back(name)

    def _take_back(self, name: str) -> None:
        """Soon: one that is only about to take its first step could not record that it was taken back."""
        asyncio.get_running_loop().call_soon(self._cancel, name)

    def _cancel(self, name: str) -> None:
        if name in self._tasks and name not in self._storing:
            self._tasks[name].cancel()

    async def close(self) -> None:
        for name in self._tasks:
            self._take_back(name)
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)


def _check_same_task(task_id: str, request: Request) -> None:
    if task_id != request.task.task_id:
        raise Conflict(
            f"rollout {request.options.rollout_id!r} is there already, of task {task_id!r}",
            field=f"{RUN_KEY}.rollout_id",
            hint="an id names one rollout for ever; give this one another, or none",
        )


async def check_all(rows: list[Any]) -> list[Request]:
    """Every row of a batch, or one error that names the first bad one: nothing starts before all are good."""
    requests: dict[str, Request] = {}
    for number, row in enumerate(rows):
        try:
            request = read_request(row)
            if request.options.rollout_id in requests:
                what = f"rollout {request.options.rollout_id!r} is in this batch already, and is told only once"
                raise BadRequest(what, field=f"{RUN_KEY}.rollout_id")
        except PalaestraError as error:
            error.field = f"rows[{number}].{error.field}".rstrip(".")
            raise
        requests[request.options.rollout_id] = request
    return list(requests.values())
