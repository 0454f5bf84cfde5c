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

from gym_core.errors import Cancelled, DeadlineExceeded, PalaestraError, PolicyFault, Unavailable
from policy_server.requests import GenerateRequest, GenerateResult
from policy_server.runner import Runner
from policy_server.scheduler import Job, Scheduler, check, deadline_of
from policy_server.watch import TextStream

log = logging.getLogger(__name__)


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
    ) -> None:
        self.model, self.model_name, self.max_length = model, model_name, max_length
        self.vocab_size: int = model.config.vocab_size
        self._prefill_tokens, self._num_threads = prefill_tokens, num_threads
        self._scheduler = Scheduler(num_slots, max_waiting)
        self._runner = Runner(
            model,
            make_cache(num_slots + num_prefixes),
            self._scheduler,
            stop_ids=stop_ids,
            decoder=decoder,
            num_prefixes=num_prefixes,
            finished=lambda job, error: self._done.append((job, error)),
        )
        self._runner.version = version
        self._inbox: deque[Job] = deque()
        self._commands: deque[tuple[Callable[[], Any], Callable[[Any, Exception | None], None]]] = deque()
        self._outbox: dict[asyncio.AbstractEventLoop, list[Callable[[], None]]] = {}
        self._done: list[tuple[Job, PalaestraError | None]] = []
        self._wake = threading.Condition()
        self._closing = self._someone_left = False
        self._next_deadline = math.inf
        self._thread = threading.Thread(target=self._loop, name="policy-engine", daemon=True)

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
            "commands": len(self._commands),
            "free_slots": scheduler.num_slots - scheduler.num_running,
            "sampled_tokens": runner.num_sampled,
            "prefilled_tokens": runner.num_prefilled,
            "prefix_hits": runner.prefixes.hits,
            "prefix_misses": runner.prefixes.misses,
        }

    def start(self) -> Engine:
        self._thread.start()
        return self

    async def generate(self, request: GenerateRequest) -> GenerateResult:
        """Sample. Raises BadRequest, Busy, DeadlineExceeded, PolicyFault, Unavailable; cancelling frees the slots."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[GenerateResult] = loop.create_future()
        prompt = check(request, self.max_length, self.vocab_size)
        room = self.max_length - len(prompt)
        job = Job(
            request=request,
            prompt=prompt,
            limit=room if request.max_tokens is None else min(request.max_tokens, room),
            seed=secrets.randbits(63) if request.seed is None else request.seed,
            deadline=deadline_of(request),
            resolve=lambda job, error: self._post(loop, _settle, future, job, error),
            samples=[None] * request.n,
            notify=None if request.on_delta is None else partial(self._post, loop, request.on_delta),
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

    async def between_steps(self, function: Callable[[], Any]) -> Any:
        """Run a function in the engine's thread while no step is under way; returns or raises what it does."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        with self._wake:
            self._require_open()
            self._commands.append((function, lambda value, error: self._post(loop, _set, future, value, error)))
            self._wake.notify()
        return await future

    async def exchange(self, load: Callable[[], Any], version: int) -> Any:
        """`load` new weights into the model between two steps; from then on tokens are of `version`."""

        def swap() -> Any:
            value = load()
            self._runner.new_weights(version)
            return value

        return await self.between_steps(swap)

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

    def _loop(self) -> None:
        if self._num_threads is not None:
            torch.set_num_threads(self._num_threads)
        with torch.inference_mode():
            while self._wait():
                try:
                    self._step()
                except Exception as error:  # the boundary: whatever a step raises is a fault of the policy
                    log.exception("a step of the policy engine failed")
                    self._fail_running(PolicyFault(f"the engine failed: {type(error).__name__}: {error}", stage="step"))
                self._deliver()
        self._shut()

    def _wait(self) -> bool:
        """Sleep until there is something to do; False when closing."""
        with self._wake:
            while not (self._closing or self._commands or self._inbox or self._scheduler.busy):
                self._wake.wait()
            return not self._closing

    def _step(self) -> None:
        while self._commands:
            _run(*self._commands.popleft())
        while self._inbox:
            job = self._inbox.popleft()
            self._scheduler.submit(job)
            self._next_deadline = min(self._next_deadline, job.deadline)
        self._drop(time.monotonic())
        if admissions := self._scheduler.admit(self._prefill_tokens):
            self._runner.prefill(admissions)
        self._runner.decode()

    def _drop(self, now: float) -> None:
        """End the jobs that were taken back or are late."""
        if not self._someone_left and self._next_deadline > now:
            return
        self._someone_left = False
        self._next_deadline = math.inf
        for job in self._jobs():
            if job.cancelled:
                self._runner.abandon(job, Cancelled("the caller took the request back", stage="generate"))
            elif job.deadline <= now:
                message = f"not generated within the {job.request.deadline_s:g} s allowed"
                self._runner.abandon(job, DeadlineExceeded(message, stage="generate"))
            else:
                self._next_deadline = min(self._next_deadline, job.deadline)

    def _jobs(self) -> list[Job]:
        return list({id(job): job for job in (*self._scheduler.waiting(), *self._runner.jobs())}.values())

    def _fail_running(self, error: PalaestraError) -> None:
        self._runner.prefixes.clear()  # an entry may be there whose state was not written any more
        for job in self._runner.jobs():
            self._runner.abandon(job, error)

    def _post(self, loop: asyncio.AbstractEventLoop, function: Callable[..., Any], *args: Any) -> None:
        """Have an event loop call this once the step is over. Waking a loop costs a system call, so it is done once."""
        self._outbox.setdefault(loop, []).append(partial(function, *args))

    def _deliver(self) -> None:
        for job, error in self._done:
            job.resolve(job, error)
        self._done.clear()
        for loop, calls in self._outbox.items():
            try:
                loop.call_soon_threadsafe(_call_all, calls)
            except RuntimeError:
                if not loop.is_closed():  # a loop that is gone has nobody waiting
                    raise
        self._outbox = {}

    def _shut(self) -> None:
        closed = Unavailable("the policy engine was closed while the request was running", stage="generate")
        for job in [*self._inbox, *self._jobs()]:
            self._runner.abandon(job, closed)
        while self._commands:
            self._commands.popleft()[1](None, closed)
        self._deliver()


def _run(function: Callable[[], Any], settle: Callable[[Any, Exception | None], None]) -> None:
    try:
        value = function()
    except Exception as error:  # handed to whoever asked
        settle(None, error)
    else:
        settle(value, None)


def _call_all(calls: list[Callable[[], None]]) -> None:
    for call in calls:
        call()


def _settle(future: asyncio.Future[GenerateResult], job: Job, error: PalaestraError | None) -> None:
    samples = [sample for sample in job.samples if sample is not None]
    _set(future, GenerateResult(samples=samples, prompt_token_ids=job.prompt, num_cached=job.num_cached), error)


def _set(future: asyncio.Future[Any], value: Any, error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)
