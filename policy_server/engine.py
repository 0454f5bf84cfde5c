"""The embedded engine: continuous batching over recurrent state and KV cache, in one thread of its own.

    generate ─▶ waiting ─▶ [step: commands ─ drop ─ admit ─ prefill ─ decode one token each ─ finish] ─▶ future

Callers are on event loops, the model is only touched by the engine's thread. Commands (new weights, scoring) run
between steps, so every token has exactly one policy version.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from gym_core.errors import BadRequest, Cancelled, DeadlineExceeded, PalaestraError, PolicyFault, Unavailable
from model.weight_memory import OpenedMemories
from policy_server.between_steps import Commands, Outbox, late, settle
from policy_server.grammar import Grammars, Matcher
from policy_server.requests import GenerateRequest, GenerateResult
from policy_server.routed import require_experts
from policy_server.runner import Runner
from policy_server.scheduler import Job, Scheduler, check, deadline_of
from policy_server.watch import TextStream

log = logging.getLogger(__name__)

_SWITCH_GRACE_S = 5.0
"""An exchange that has begun in time may take so much longer before it counts as lost."""

_MAX_CRASHES, _CRASH_WINDOW_S = 5, 60.0
"""So many crashes of the thread within so many seconds, and the engine stays closed."""


class Engine:
    """Samples from a `HybridModel`: `start` it, `generate` from any event loop, `close` it.

    make_cache(num_slots) gives a `StateCache` for `max_length` tokens; decoder makes a `TextStream`, for stop strings
    and streaming; `num_prefixes` states of prompts and kept turns stay in the cache beside the running ones.
    """

    def __init__(
        self,
        model: Any,
        make_cache: Callable[[int], Any],
        *,
        num_slots: int,
        max_length: int,
        stop_ids: frozenset[int],
        decoder: Callable[[], TextStream],
        model_name: str = "palaestra",
        version: int = 0,
        num_prefixes: int = 0,
        max_waiting: int = 1024,
        prefill_tokens: int = 8192,
        num_threads: int | None = 1,
        deterministic: bool = False,
        grammars: Grammars | None = None,
    ) -> None:
        self.model, self.model_name, self.max_length = model, model_name, max_length
        self.memories = OpenedMemories()
        self.vocab_size: int = model.config.vocab_size
        self._num_threads, self._grammars = num_threads, grammars
        self.make_cache = make_cache
        cache = make_cache(num_slots + num_prefixes)
        self._new_scheduler = partial(Scheduler, num_slots, max_waiting)
        self._new_runner = partial(
            Runner,
            model,
            cache,
            stop_ids=stop_ids,
            decoder=decoder,
            num_prefixes=num_prefixes,
            prefill_tokens=prefill_tokens,
            deterministic=deterministic,
            finished=self._finish,
        )
        self._build(version)
        self._live: dict[Job, None] = {}
        self._num_restarts = 0
        self._crashes: deque[float] = deque(maxlen=_MAX_CRASHES)
        self._inbox: deque[Job] = deque()
        self._outbox = Outbox()
        self._commands = Commands(self._outbox)
        self._done: list[tuple[Job, PalaestraError | None]] = []
        self._wake = threading.Condition()
        self._closing = self._someone_left = False
        self._next_deadline = math.inf
        self._thread = threading.Thread(target=self._run_thread, name="policy-engine", daemon=True)

    def _build(self, version: int) -> None:
        """A queue and a runner with nothing in them; every slot of the cache is reset before it is used again."""
        self._scheduler = self._new_scheduler()
        self._runner = self._new_runner(self._scheduler)
        self._runner.version = version

    @property
    def version(self) -> int:
        return self._runner.version

    @property
    def stats(self) -> dict[str, int]:
        """Counts for /metrics and tests."""
        runner, scheduler = self._runner, self._scheduler
        return {
            "running": scheduler.num_running,
            "waiting": scheduler.num_waiting + len(self._inbox),
            "commands": self._commands.num_next,
            "drains": self._commands.num_drained,
            "free_slots": scheduler.num_slots - scheduler.num_running,
            "sampled_tokens": runner.num_sampled,
            "prefilled_tokens": runner.reader.num_read,
            "prefix_hits": runner.prefixes.hits,
            "prefix_misses": runner.prefixes.misses,
            "preempted": runner.num_preempted,
            "restarts": self._num_restarts,
        }

    def start(self) -> Engine:
        self._thread.start()
        return self

    async def generate(self, request: GenerateRequest) -> GenerateResult:
        """Sample. Raises BadRequest, Busy, DeadlineExceeded, PolicyFault, Unavailable; cancelling frees the slots."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[GenerateResult] = loop.create_future()
        prompt = check(request, self.max_length, self.vocab_size)
        if request.routed_experts:
            require_experts(self.model)
        room = self.max_length - len(prompt)
        grammar = await self._grammar(request)
        job = Job(
            request=request,
            prompt=prompt,
            limit=room if request.max_tokens is None else min(request.max_tokens, room),
            seed=secrets.randbits(63) if request.seed is None else request.seed,
            deadline=deadline_of(request),
            resolve=lambda job, error: self._outbox.post(loop, _answer, future, job, error),
            samples=[None] * request.n,
            notify=None if request.on_delta is None else partial(self._outbox.post, loop, request.on_delta),
            grammar=grammar,
        )
        with self._wake:
            self._require_open()
            self._scheduler.refuse_beyond(len(self._inbox))
            self._inbox.append(job)
            self._wake.notify()
        try:
            return await future
        except asyncio.CancelledError:
            with self._wake:
                job.cancelled = self._someone_left = True
                self._wake.notify()
            raise

    async def _grammar(self, request: GenerateRequest) -> Matcher | None:
        if request.constraint is None:
            return None
        if self._grammars is None:
            raise BadRequest("this engine cannot hold output to a grammar", field=request.constraint.field)
        return await self._grammars.compile(request.constraint)

    async def between_steps(self, function: Callable[[], Any]) -> Any:
        """Run a function in the engine's thread while no step is under way; returns or raises what it does."""
        return await self._command(function, None)

    async def exchange(
        self, load: Callable[[], Any], version: int, *, drain: bool = False, timeout_s: float | None = None
    ) -> Any:
        """`load` new weights into the model between two steps; from then on tokens are of `version`.

        With `drain` requests that have begun are completed first, and none begins until then: no request has tokens
        of two versions. Raises `DeadlineExceeded`, the old weights served on, when `timeout_s` passes before the
        exchange begins.
        """
        end = math.inf if timeout_s is None else time.monotonic() + timeout_s

        def swap() -> Any:
            if time.monotonic() > end:
                raise late(drain, timeout_s or 0.0)
            value = load()
            self._runner.new_weights(version)
            return value

        work = self._command(swap, end if drain else None)
        try:
            async with asyncio.timeout(None if timeout_s is None else timeout_s + _SWITCH_GRACE_S):
                return await work
        except TimeoutError:
            raise late(drain, timeout_s or 0.0) from None

    async def _command(self, function: Callable[[], Any], drain_until: float | None) -> Any:
        with self._wake:
            self._require_open()
            future = self._commands.add(function, drain_until)
            self._wake.notify()
        return await future

    async def close(self) -> None:
        """Stop after the current step; whatever is unfinished gets `Unavailable`."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join)

    def _require_open(self) -> None:
        if self._closing or not self._thread.is_alive():
            raise Unavailable("the policy engine is not running", stage="generate")

    def _run_thread(self) -> None:
        if self._num_threads is not None:
            torch.set_num_threads(self._num_threads)
        with torch.inference_mode():
            while not self._closing:
                try:
                    self._deliver()  # what a crash left undelivered
                    self._loop()
                except BaseException as error:  # the thread's last boundary: nobody else could start the engine again
                    log.exception("the policy engine crashed")
                    self._recover(error)
                    self._closing = self._closing or self._crashes_too_often()
        self._shut()

    def _loop(self) -> None:
        while self._wait():
            try:
                self._step()
            except Exception as error:  # the boundary: whatever a step raises is a fault of the policy
                log.exception("a step of the policy engine failed")
                self._recover(error)
            self._deliver()

    def _recover(self, error: BaseException) -> None:
        """Start again with nothing in the slots: what had begun fails, what was waiting still waits."""
        fault = PolicyFault(f"the engine failed: {type(error).__name__}: {error}", stage="step")
        self._build(self.version)
        for job in list(self._live):
            if job.num_started:
                self._finish(job, fault)
            else:
                self._scheduler.submit(job)
        self._num_restarts += 1

    def _crashes_too_often(self) -> bool:
        """Whether starting again is of no use."""
        self._crashes.append(time.monotonic())
        return len(self._crashes) == _MAX_CRASHES and self._crashes[-1] - self._crashes[0] < _CRASH_WINDOW_S

    def _wait(self) -> bool:
        """Sleep until there is something to do; False when closing."""
        with self._wake:
            while not (self._closing or self._commands or self._inbox or self._scheduler.busy):
                self._wake.wait()
            return not self._closing

    def _step(self) -> None:
        self._commands.run_next()
        while self._inbox:
            job = self._inbox.popleft()
            self._live[job] = None
            self._scheduler.submit(job)
            self._next_deadline = min(self._next_deadline, job.deadline)
        self._drop(time.monotonic())
        self._commands.run_drained(lambda: any(job.num_started for job in self._live))
        begun_only = self._commands.num_drained > 0
        if not begun_only:
            self._runner.preempt(*self._scheduler.missing())
        self._runner.admit(self._scheduler.admit(self._runner.reader.room, self._runner.reader.reads, begun_only))
        self._runner.prefill()
        self._runner.decode()

    def _drop(self, now: float) -> None:
        """End the jobs that were taken back or are late."""
        if not self._someone_left and self._next_deadline > now:
            return
        self._someone_left = False
        self._next_deadline = math.inf
        for job in list(self._live):
            if job.cancelled:
                self._runner.abandon(job, Cancelled("the caller took the request back", stage="generate"))
            elif job.deadline <= now:
                message = f"not generated within the {job.request.deadline_s:g} s allowed"
                self._runner.abandon(job, DeadlineExceeded(message, stage="generate"))
            else:
                self._next_deadline = min(self._next_deadline, job.deadline)

    def _finish(self, job: Job, error: PalaestraError | None) -> None:
        """A job is over; its caller is told with the next delivery."""
        del self._live[job]
        self._done.append((job, error))

    def _deliver(self) -> None:
        for job, error in self._done:
            job.resolve(job, error)
        self._done.clear()
        self._outbox.deliver()

    def _shut(self) -> None:
        closed = Unavailable("the policy engine was closed while the request was running", stage="generate")
        self._live |= dict.fromkeys(self._inbox)
        for job in list(self._live):
            self._finish(job, closed)
        self._commands.refuse(closed)
        self._deliver()


def _answer(future: asyncio.Future[GenerateResult], job: Job, error: PalaestraError | None) -> None:
    samples = [sample for sample in job.samples if sample is not None]
    settle(future, GenerateResult(samples=samples, prompt_token_ids=job.prompt, num_cached=job.num_cached), error)
