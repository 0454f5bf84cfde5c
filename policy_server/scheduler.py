"""Who runs next: requests wait in order of priority and arrival, and are let in when slots for their samples are free.

A running sample may be parked for a request of smaller priority; it keeps its tokens and its place in the queue.

A request of n samples enters whole (its samples share one prefill) unless n exceeds the number of slots, in which case
it enters in parts. The order is strict, so no request is overtaken forever. Lowest slots are given first, which keeps
the running batch dense.
"""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gym_core.errors import BadRequest, Busy, PalaestraError
from policy_server.config import MAX_TEMPERATURE
from policy_server.grammar import Matcher
from policy_server.requests import GenerateRequest, Sample

MAX_SAMPLES = 1024


@dataclass(slots=True, eq=False)
class Job:
    """A request on its way through the engine. `resolve` is called once, in the engine's thread."""

    request: GenerateRequest
    prompt: np.ndarray
    limit: int
    seed: int
    deadline: float
    resolve: Callable[[Job, PalaestraError | None], None]
    samples: list[Sample | None]
    num_started: int = 0
    num_finished: int = 0
    num_cached: int = 0
    cancelled: bool = False
    notify: Callable[..., Any] | None = None
    grammar: Matcher | None = None
    arrival: int = 0
    parked: list[Sequence] = field(default_factory=list)

    @property
    def done(self) -> bool:
        return self.num_finished == self.request.n


@dataclass(slots=True, frozen=True)
class Parked:
    """A preempted sample: what its slot held, and the cache slot that keeps its state (None: to be computed again)."""

    saved: dict[str, np.ndarray]
    holder: int | None


@dataclass(slots=True, eq=False)
class Sequence:
    """One sample in its slot; `watch` looks at its tokens one by one and `steering` touches its distribution, when
    something must; `top` and `experts` gather alternatives and routed experts (of its prompt first) where they are
    asked for. `parked` is what a preempted one goes on from.
    """

    job: Job
    index: int
    slot: int
    watch: Any = None
    steering: Any = None
    top: Any = None
    experts: list[np.ndarray] | None = None
    parked: Parked | None = None


@dataclass(slots=True)
class Admission:
    """Samples of one job that enter now, for the first time or again."""

    job: Job
    sequences: list[Sequence] = field(default_factory=list)
    resumed: list[Sequence] = field(default_factory=list)


def check(request: GenerateRequest, max_length: int, vocab_size: int) -> np.ndarray:
    """The prompt as i64[t]. Raises `BadRequest` naming what does not fit."""
    prompt = np.asarray(request.prompt_token_ids, dtype=np.int64)
    if prompt.ndim != 1 or len(prompt) == 0:
        raise BadRequest("the prompt has no tokens", field="prompt")
    if prompt.min() < 0 or prompt.max() >= vocab_size:
        bad = int(prompt[(prompt < 0) | (prompt >= vocab_size)][0])
        raise BadRequest(f"token id {bad} is outside the vocabulary of {vocab_size}", field="prompt")
    if len(prompt) >= max_length:
        raise BadRequest(
            f"the prompt has {len(prompt)} tokens and the context length is {max_length}; no token is left to generate",
            field="prompt",
            hint="shorten the prompt, or serve with a larger max_length",
        )
    if not 1 <= request.n <= MAX_SAMPLES:
        raise BadRequest(f"n must be 1 to {MAX_SAMPLES}, not {request.n}", field="n", hint="ask several times")
    if request.max_tokens is not None and request.max_tokens < 1:
        raise BadRequest(f"max_tokens must be at least 1, not {request.max_tokens}", field="max_tokens")
    if not 0 <= request.temperature <= MAX_TEMPERATURE:
        raise BadRequest(
            f"temperature must be 0 to {MAX_TEMPERATURE:g}, not {request.temperature}", field="temperature"
        )
    if not 0 < request.top_p <= 1:
        raise BadRequest(f"top_p must be in (0, 1], not {request.top_p}", field="top_p")
    for name in ("presence_penalty", "frequency_penalty"):
        if not -2 <= getattr(request, name) <= 2:
            raise BadRequest(f"{name} must be within -2..2, not {getattr(request, name)}", field=name)
    for token, bias in request.logit_bias.items():
        if not 0 <= token < vocab_size or math.isnan(bias) or bias == math.inf:
            raise BadRequest(
                f"no bias of {bias} for token {token}: 0 to {vocab_size - 1} are tokens", field="logit_bias"
            )
    if request.thinking_budget is not None and request.thinking_budget < 0:
        raise BadRequest(f"must be 0 or more, not {request.thinking_budget}", field="reasoning_budget")
    return prompt


class Scheduler:
    """The waiting queue and the free slots; belongs to the engine's thread, others may only read its numbers.

    `num_slots` samples run at a time.
    """

    def __init__(self, num_slots: int, max_waiting: int) -> None:
        self.num_slots, self.max_waiting = num_slots, max_waiting
        self._free = list(range(num_slots))
        self._waiting: list[tuple[int, int, Job]] = []
        self._arrival = itertools.count()

    @property
    def num_running(self) -> int:
        return self.num_slots - len(self._free)

    @property
    def num_waiting(self) -> int:
        return len(self._waiting)

    def waiting(self) -> list[Job]:
        """The queued jobs, in no particular order."""
        return [job for _, _, job in self._waiting]

    @property
    def busy(self) -> bool:
        return bool(self.num_running or self._waiting)

    def refuse_beyond(self, more: int) -> None:
        """Raises `Busy` when the queue, and `more` that are about to join it, are at the limit."""
        waiting = len(self._waiting) + more
        if waiting >= self.max_waiting:
            raise Busy(
                f"the policy server has {waiting} requests waiting, its limit",
                hint="try again after Retry-After, or serve with a larger max_waiting",
                retry_after_s=1.0,
                stage="queue",
            )

    def submit(self, job: Job) -> None:
        """Queue a job."""
        job.arrival = next(self._arrival)
        heapq.heappush(self._waiting, (job.request.priority, job.arrival, job))

    def park(self, sequence: Sequence) -> None:
        """Take a running sample's slot; it waits at the place of its job."""
        job = sequence.job
        if not (job.parked or job.num_started < job.request.n):
            heapq.heappush(self._waiting, (job.request.priority, job.arrival, job))
        job.parked.append(sequence)
        self.release(sequence.slot)

    def missing(self) -> tuple[int, int]:
        """(slots that the first in the queue lacks, its priority)."""
        if not self._waiting:
            return 0, 0
        job = self._waiting[0][2]
        wanted = 1 if job.parked else min(job.request.n - job.num_started, self.num_slots)
        return max(0, wanted - len(self._free)), job.request.priority

    def remove(self, job: Job) -> None:
        """Take a job out of the queue if it is in it."""
        if job.parked or job.num_started < job.request.n:
            self._waiting = [entry for entry in self._waiting if entry[2] is not job]
            heapq.heapify(self._waiting)

    def admit(
        self,
        prefill_tokens: int,
        is_read: Callable[[np.ndarray], bool] = lambda _: False,
        begun_only: bool = False,
    ) -> list[Admission]:
        """Jobs that enter now, until `prefill_tokens` of prompts are reached; a prompt that `is_read` costs nothing.

        With `begun_only` jobs of which no sample has begun stay where they are, and hold up nobody.
        """
        if not begun_only:
            return self._admit(prefill_tokens, is_read)
        held = [entry for entry in self._waiting if not entry[2].num_started]
        self._waiting = [entry for entry in self._waiting if entry[2].num_started]
        heapq.heapify(self._waiting)
        admissions = self._admit(prefill_tokens, is_read)
        self._waiting += held
        heapq.heapify(self._waiting)
        return admissions

    def _admit(self, prefill_tokens: int, is_read: Callable[[np.ndarray], bool]) -> list[Admission]:
        admissions: list[Admission] = []
        while self._waiting:
            job = self._waiting[0][2]
            cost = 0 if is_read(job.prompt) else len(job.prompt)
            if cost and prefill_tokens <= 0:
                break
            if job.parked:
                back = [job.parked.pop(0) for _ in range(min(len(job.parked), len(self._free)))]
                for sequence in back:
                    sequence.slot = heapq.heappop(self._free)
                admissions.append(Admission(job, resumed=back))
                if job.parked:
                    break
                if job.num_started == job.request.n:
                    heapq.heappop(self._waiting)
                continue
            entering = min(job.request.n - job.num_started, self.num_slots)
            if entering > len(self._free):
                break
            first = job.num_started
            sequences = [Sequence(job, index, heapq.heappop(self._free)) for index in range(first, first + entering)]
            job.num_started += entering
            if job.num_started == job.request.n:
                heapq.heappop(self._waiting)
            prefill_tokens -= cost
            admissions.append(Admission(job, sequences))
        return admissions

    def release(self, slot: int) -> None:
        """Give a slot back."""
        heapq.heappush(self._free, slot)


def deadline_of(request: GenerateRequest) -> float:
    """Monotonic second at which the request is over."""
    return math.inf if request.deadline_s is None else time.monotonic() + request.deadline_s
