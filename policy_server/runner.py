"""The running batch: prefill, one decode step, and what becomes of finished samples. Lives in the engine's thread.

A prompt is computed once for all of its samples and for every request that repeats it while its state is kept; a turn
that extends a kept trace computes only its new tokens (`prefixes`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gym_core.errors import PalaestraError, PolicyFault
from policy_server.prefixes import PrefixCache, key_of
from policy_server.requests import Delta, Sample
from policy_server.sampling import draw
from policy_server.scheduler import Admission, Job, Scheduler, Sequence
from policy_server.slots import Slots
from policy_server.watch import TextStream, Watch, needs_watch

_MIN_SHARED = 32
"""A shorter beginning costs less to compute again than to keep."""


class Runner:
    """Moves admitted samples forward. `finished(job, error)` is told of every job that is over.

    model: a `HybridModel`; cache: a `StateCache` whose first slots are the scheduler's and
    whose other `num_prefixes` hold kept states.
    """

    def __init__(
        self,
        model: Any,
        cache: Any,
        scheduler: Scheduler,
        *,
        stop_ids: frozenset[int],
        decoder: Callable[[], TextStream],
        num_prefixes: int,
        finished: Callable[[Job, PalaestraError | None], None],
    ) -> None:
        self.model, self.cache, self.scheduler = model, cache, scheduler
        self.version = 0
        self.num_prefilled = self.num_sampled = 0
        self.slots = Slots(scheduler.num_slots, stop_ids, model.config.vocab_size)
        self.prefixes = PrefixCache(range(scheduler.num_slots, scheduler.num_slots + num_prefixes))
        self.running: dict[int, Sequence] = {}
        self._decoder, self._finished = decoder, finished
        self._device = next(model.parameters()).device
        self._rows = np.zeros(0, np.int64)

    def jobs(self) -> list[Job]:
        """The jobs that have running samples."""
        return list({id(sequence.job): sequence.job for sequence in self.running.values()}.values())

    def prefill(self, admissions: Iterable[Admission]) -> None:
        """Compute what is not known of the admitted prompts, each distinct one once, and draw every first token."""
        mates: dict[bytes, list[Sequence]] = {}
        for admission in admissions:
            for sequence in admission.sequences:
                self._begin(sequence)
            mates.setdefault(key_of(admission.job.prompt), []).extend(admission.sequences)
        # first all that may take a slot from an entry, then the looking up, then the copying
        shared = [self._share(sequences[0].job) for sequences in mates.values()]
        hidden: list[Tensor] = []
        order: list[Sequence] = []
        fresh: list[tuple[np.ndarray, int, int]] = []
        copies: dict[int, int] = {}
        for sequences, num_shared in zip(mates.values(), shared, strict=True):
            job, lead = sequences[0].job, sequences[0].slot
            # a finished turn's state lags by the token that was drawn last and never fed
            known = self.prefixes.find(job.prompt, job.request.known_tokens - 1, num_shared)
            for sequence in sequences:
                sequence.job.num_cached = 0 if known is None else known.num_tokens
            if known is not None and known.hidden is not None:
                copies |= {sequence.slot: known.slot for sequence in sequences}
                hidden += [known.hidden] * len(sequences)
                order += sequences
            else:
                copies |= {} if known is None else {lead: known.slot}
                fresh.append((job.prompt, lead, 0 if known is None else known.num_tokens))
        self._copy(copies)
        if fresh:
            copies = {}
            for row, (prompt, lead, _) in zip(self._compute(fresh), fresh, strict=True):
                sequences = mates[key_of(prompt)]
                copies |= {sequence.slot: lead for sequence in sequences[1:]}
                hidden += [row] * len(sequences)
                order += sequences
                # the lead's slot still holds exactly the prompt
                if (kept := self.prefixes.put(prompt, row)) is not None:
                    copies[kept] = lead
            self._copy(copies)
        self._advance(np.array([s.slot for s in order], np.int64), self.model.logits(torch.stack(hidden)))

    def decode(self) -> None:
        """One token for every running sample."""
        rows = self._rows
        if len(rows):
            tokens = torch.from_numpy(self.slots.last[rows]).to(self._device)
            self._advance(rows, self.model.decode(tokens, self.cache, rows.tolist()))

    def abandon(self, job: Job, error: PalaestraError) -> None:
        """End a job, wherever its samples are, with this error."""
        for sequence in [s for s in self.running.values() if s.job is job]:
            self._leave(sequence.slot)
        self.scheduler.remove(job)
        self._gather()
        self._finished(job, error)

    def new_weights(self, version: int) -> None:
        """Later tokens are of this version; kept states are of older weights and go."""
        self.version = version
        self.prefixes.clear()

    def _share(self, job: Job) -> int:
        """See to it that the beginning this prompt shares with others is kept; returns its length, 0 for none."""
        length = job.request.shared_tokens
        if not _MIN_SHARED <= length < len(job.prompt) or job.request.known_tokens > length:
            return 0
        shared = job.prompt[:length]
        if shared not in self.prefixes and job.prompt not in self.prefixes:
            slot = self.prefixes.put(shared)
            if slot is not None:
                self._compute([(shared, slot, 0)])
        return length

    def _compute(self, fresh: list[tuple[np.ndarray, int, int]]) -> Tensor:
        """Prefill (prompt, slot, tokens already there) packed; hidden [B, D] of the last tokens."""
        if empty := [slot for _, slot, start in fresh if start == 0]:
            self.cache.reset(empty)
        parts = [prompt[start:] for prompt, _, start in fresh]
        edges = np.cumsum([0, *(len(part) for part in parts)])
        self.num_prefilled += int(edges[-1])
        return self.model.prefill(
            torch.from_numpy(np.concatenate(parts)).to(self._device),
            torch.from_numpy(edges).to(self._device),
            self.cache,
            [slot for _, slot, _ in fresh],
        )

    def _copy(self, copies: dict[int, int]) -> None:
        """Copy states; keys are the slots written, values those read."""
        readers: dict[int, list[int]] = {}
        for target, source in copies.items():
            readers.setdefault(source, []).append(target)
        for source, targets in readers.items():
            self.cache.fork(source, targets)

    def _begin(self, sequence: Sequence) -> None:
        job, request = sequence.job, sequence.job.request
        watched = needs_watch(request)
        sequence.watch = Watch(request, self._decoder) if watched else None
        self.slots.start(
            sequence.slot,
            num_prompt_tokens=len(job.prompt),
            limit=job.limit,
            seed=job.seed + sequence.index,
            temperature=request.temperature,
            top_p=request.top_p,
            heeds_stop=not request.ignore_eos,
            watched=watched,
        )
        self.running[sequence.slot] = sequence

    def _advance(self, rows: np.ndarray, logits: Tensor) -> None:
        """Draw one token for each of these slots and complete those that are over."""
        slots = self.slots
        drawn, logprob = draw(logits, slots.temperature[rows], slots.top_p[rows], slots.noise(rows))
        tokens, logprobs = drawn.cpu().numpy(), logprob.cpu().numpy()
        over = slots.append(rows, tokens, logprobs, self.version)
        self.num_sampled += len(rows)
        finite = np.isfinite(logprobs)
        if not finite.all():
            self._fault(rows[~finite].tolist())
        stopped: dict[int, int | str] = {}
        for row in np.flatnonzero(slots.watched[rows]).tolist():
            self._look(int(rows[row]), bool(over[row]), stopped)
        for slot in rows[over].tolist():
            if slot in self.running and slot not in stopped:
                self._finish(slot, int(slots.last[slot]) if slots.ended_by_stop(slot) else None)
        for slot, reason in stopped.items():
            self._finish(slot, reason)
        if len(self._rows) != len(self.running):
            self._gather()

    def _gather(self) -> None:
        self._rows = np.fromiter(sorted(self.running), np.int64, len(self.running))

    def _look(self, slot: int, over: bool, stopped: dict[int, int | str]) -> None:
        """Stop strings, own stop ids and streaming: what needs Python for every token."""
        sequence = self.running.get(slot)
        if sequence is None:
            return
        token = int(self.slots.last[slot])
        reason = sequence.watch.push(token, over)
        if reason is not None:
            stopped[slot] = reason
        if sequence.job.notify is not None:
            by_stop = reason is not None or self.slots.ended_by_stop(slot)
            ended = "stop" if by_stop else "length" if over else ""
            logprob = float(self.slots.logprobs[slot, self.slots.count[slot] - 1])
            sequence.job.notify(Delta(sequence.index, [token], [logprob], sequence.watch.text, ended))

    def _finish(self, slot: int, stop_reason: int | str | None) -> None:
        sequence = self._leave(slot)
        tokens, logprobs, versions = self.slots.take(slot)
        job = sequence.job
        if job.request.keep and versions[0] == self.version:
            # the state has seen every token but the last, which was drawn and never fed
            kept = self.prefixes.put(np.concatenate([job.prompt, tokens[:-1]]))
            if kept is not None:
                self._copy({kept: slot})
        job.samples[sequence.index] = Sample(
            token_ids=tokens,
            logprobs=logprobs,
            versions=versions,
            finish_reason="length" if stop_reason is None else "stop",
            stop_reason=stop_reason,
        )
        job.num_finished += 1
        if job.done:
            self._finished(job, None)

    def _leave(self, slot: int) -> Sequence:
        """Take a sample out of the batch and give its slot back."""
        self.slots.watched[slot] = False
        self.scheduler.release(slot)
        return self.running.pop(slot)

    def _fault(self, slots: list[int]) -> None:
        """The model gave no distribution for these samples: their jobs fail."""
        for slot in slots:
            if slot in self.running:
                message = f"the policy's logits are not finite (policy version {self.version})"
                self.abandon(self.running[slot].job, PolicyFault(message, stage="decode"))
