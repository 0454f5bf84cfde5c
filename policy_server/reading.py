"""Prompts on their way into the cache: in pieces between decode steps, each distinct one once.

    prompt ─▶ known whole? fork ─▶ ready
       └─▶ known beginning? fork it ─▶ pieces of at most `most` tokens a step ─▶ fork to its other samples ─▶ ready

A beginning that other prompts share (a system block) is kept on the way; whoever shares it waits until it is there.
With `alone` a prompt is computed as if there were no other: never beside another one, from no kept beginning, in pieces
whose edges depend on itself only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from policy_server.prefixes import PrefixCache, key_of
from policy_server.routed import Recorder
from policy_server.scheduler import Job, Sequence

_MIN_SHARED = 32
"""A shorter beginning costs less to compute again than to keep."""


@dataclass(slots=True, eq=False)
class Reading:
    """A prompt and the samples that wait for it; it is read into the first one's slot.

    `done` tokens are there (None: not begun); the state after the first `shared` is kept for others (0: none).
    `experts` i16[t, layers, k] of its tokens, as far as somebody asked for them.
    """

    prompt: np.ndarray
    sequences: list[Sequence]
    done: int | None = None
    shared: int = 0
    num_cached: int = 0
    experts: np.ndarray | None = None

    @property
    def slot(self) -> int:
        return self.sequences[0].slot

    @property
    def rest(self) -> int:
        return len(self.prompt) - (self.done or 0)

    @property
    def wants_experts(self) -> bool:
        return any(sequence.experts is not None for sequence in self.sequences)


Ready = list[tuple[list[Sequence], Tensor]]
"""Samples whose prompt is read, and the hidden state [D] of its last token."""


class Reader:
    """Prefills with `model` into `cache`, at most `most` tokens a step."""

    def __init__(self, model: Any, cache: Any, prefixes: PrefixCache, *, most: int, alone: bool) -> None:
        self.model, self.cache, self.prefixes = model, cache, prefixes
        self.num_read = 0
        self._most, self._alone = most, alone
        self._device = next(model.parameters()).device
        self._readings: dict[bytes, Reading] = {}
        self._recorder = Recorder(model)

    @property
    def room(self) -> int:
        """Tokens that one more step could read besides those that wait already."""
        return self._most - sum(reading.rest for reading in self._readings.values())

    def reads(self, prompt: np.ndarray) -> bool:
        """Whether this prompt is being read for someone already."""
        return key_of(prompt) in self._readings

    def sequences(self) -> list[Sequence]:
        """The samples whose prompt is not read yet."""
        return [sequence for reading in self._readings.values() for sequence in reading.sequences]

    def add(self, prompt: np.ndarray, sequences: list[Sequence]) -> None:
        """Read a prompt for these samples, together with others that wait for the same."""
        reading = self._readings.setdefault(key_of(prompt), Reading(prompt, []))
        reading.sequences += sequences
        for sequence in sequences:
            sequence.job.num_cached = reading.num_cached

    def step(self) -> Ready:
        """Read up to `most` tokens; returns whose prompt is complete now."""
        ready: Ready = []
        left = self._most
        while left > 0 and (pieces := self._pieces(left, ready)):
            for (reading, count), hidden in zip(pieces, self._compute(pieces), strict=True):
                left -= count
                self._move(reading, count, hidden, ready)
        return ready

    def drop(self, job: Job) -> list[Sequence]:
        """Take a job's samples out; returns them. Others that wait for the same prompt go on."""
        gone: list[Sequence] = []
        for key, reading in list(self._readings.items()):
            mine = [sequence for sequence in reading.sequences if sequence.job is job]
            others = [sequence for sequence in reading.sequences if sequence.job is not job]
            gone += mine
            if not others:
                del self._readings[key]
            elif mine:
                if reading.done is not None and others[0].slot != reading.slot:
                    self.cache.fork(reading.slot, [others[0].slot])
                reading.sequences = others
        return gone

    def restart(self) -> None:
        """What was read is of older weights: read it again."""
        for reading in self._readings.values():
            reading.done = reading.experts = None

    def _pieces(self, left: int, ready: Ready) -> list[tuple[Reading, int]]:
        """What to compute next: (reading, tokens) of `left` in all."""
        pieces: list[tuple[Reading, int]] = []
        under_way: set[bytes] = set()
        for reading in list(self._readings.values()):
            if reading.done is None and not self._begin(reading, under_way, ready):
                continue
            at = reading.done or 0
            whole = self._most if self._alone else left
            count = min(whole, (reading.shared if at < reading.shared else len(reading.prompt)) - at)
            pieces.append((reading, count))
            left -= count
            if left <= 0 or self._alone:
                break
            if at < reading.shared:
                under_way.add(key_of(reading.prompt[: reading.shared]))
        return pieces

    def _begin(self, reading: Reading, under_way: set[bytes], ready: Ready) -> bool:
        """Start from what is known; False when nothing is left to compute, or when it has to wait for its beginning."""
        prompt, request = reading.prompt, reading.sequences[0].job.request
        length = 0 if self._alone else self._shared(reading)
        if length and key_of(prompt[:length]) in under_way:
            return False
        # a finished turn's state lags by the token that was drawn last and never fed
        known = self.prefixes.find(prompt, *(() if self._alone else (request.known_tokens - 1, length)))
        reading.num_cached = 0 if known is None else known.num_tokens
        for sequence in reading.sequences:
            sequence.job.num_cached = reading.num_cached
        if known is not None and known.experts is not None and reading.wants_experts:
            self._note(reading, 0, known.experts)
        if known is not None and known.hidden is not None:
            self.cache.fork(known.slot, [sequence.slot for sequence in reading.sequences])
            self._settle(reading, known.hidden, ready)
            return False
        if known is None:
            self.cache.reset([reading.slot])
        else:
            self.cache.fork(known.slot, [reading.slot])
        reading.done = reading.num_cached
        reading.shared = length if reading.done < length else 0
        return True

    def _shared(self, reading: Reading) -> int:
        """How much of the prompt is a beginning to keep for others; 0 for none."""
        request = reading.sequences[0].job.request
        length = request.shared_tokens
        fits = _MIN_SHARED <= length < len(reading.prompt) and request.known_tokens <= length
        return length if fits and self.prefixes.num_slots else 0

    def _compute(self, pieces: list[tuple[Reading, int]]) -> Tensor:
        """Prefill pieces packed; hidden [B, D] of their last tokens."""
        parts = [reading.prompt[reading.done or 0 :][:count] for reading, count in pieces]
        edges = np.cumsum([0, *(len(part) for part in parts)])
        self.num_read += int(edges[-1])
        tokens, bounds = (torch.from_numpy(part).to(self._device) for part in (np.concatenate(parts), edges))
        slots = [reading.slot for reading, _ in pieces]
        hidden, experts = self._recorder.run(
            any(reading.wants_experts for reading, _ in pieces),
            lambda: self.model.prefill(tokens, bounds, self.cache, slots),
        )
        if experts is not None:
            for (reading, _), part in zip(pieces, np.split(experts, edges[1:-1]), strict=True):
                self._note(reading, reading.done or 0, part)
        return hidden

    def _note(self, reading: Reading, at: int, experts: np.ndarray) -> None:
        """Write down where the tokens from `at` on were sent."""
        if reading.experts is None:
            reading.experts = self._recorder.blank(len(reading.prompt))
        reading.experts[at : at + len(experts)] = experts

    def _move(self, reading: Reading, count: int, hidden: Tensor, ready: Ready) -> None:
        assert reading.done is not None
        reading.done += count
        if reading.done == reading.shared:
            self._keep(reading, reading.prompt[: reading.shared])
        elif reading.done == len(reading.prompt):
            if mates := [sequence.slot for sequence in reading.sequences[1:]]:
                self.cache.fork(reading.slot, mates)
            self._keep(reading, reading.prompt, hidden)
            self._settle(reading, hidden, ready)

    def _keep(self, reading: Reading, tokens: np.ndarray, hidden: Tensor | None = None) -> None:
        experts = None if reading.experts is None else reading.experts[: len(tokens)].copy()
        if (kept := self.prefixes.put(tokens, hidden, experts)) is not None:
            self.cache.fork(reading.slot, [kept])

    def _settle(self, reading: Reading, hidden: Tensor, ready: Ready) -> None:
        del self._readings[key_of(reading.prompt)]
        for sequence in reading.sequences:
            if sequence.experts is not None:
                told = self._recorder.blank(len(reading.prompt)) if reading.experts is None else reading.experts
                sequence.experts = [told]
        ready.append((reading.sequences, hidden))
