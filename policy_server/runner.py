"""The running batch: first tokens, one decode step, and what becomes of finished samples. Lives in the engine's thread.

A prompt is computed once for all of its samples and for every request that repeats it while its state is kept; a turn
that extends a kept trace computes only its new tokens (`reading`, `prefixes`). In the deterministic form every row is
computed by itself, so that no number depends on who else is in the batch; it costs a pass of the model per sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gym_core.errors import PalaestraError, PolicyFault
from policy_server.prefixes import PrefixCache
from policy_server.reading import Reader
from policy_server.requests import Delta, Sample
from policy_server.routed import Recorder
from policy_server.sampling import Steered, alternatives, draw
from policy_server.scheduler import Admission, Job, Parked, Scheduler, Sequence
from policy_server.slots import Slots
from policy_server.steering import Steering, needs_steering, origins, steer
from policy_server.watch import TextStream, Watch, needs_watch

_COLDEST = 1e-5
"""Below this temperature the likeliest token is all that is left, and logits divided by it leave what a float holds."""


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
        prefill_tokens: int,
        deterministic: bool,
        finished: Callable[[Job, PalaestraError | None], None],
    ) -> None:
        self.model, self.cache, self.scheduler = model, cache, scheduler
        self.version = 0
        self.num_sampled = self.num_preempted = 0
        self.slots = Slots(scheduler.num_slots, stop_ids, model.config.vocab_size)
        self.prefixes = PrefixCache(range(scheduler.num_slots, scheduler.num_slots + num_prefixes))
        self.reader = Reader(model, cache, self.prefixes, most=prefill_tokens, alone=deterministic)
        self.running: dict[int, Sequence] = {}
        self._alone = deterministic
        self._decoder, self._finished = decoder, finished
        self._device = next(model.parameters()).device
        self._recorder = Recorder(model)
        self._rows = np.zeros(0, np.int64)

    def jobs(self) -> list[Job]:
        """The jobs that have samples in slots."""
        sequences = [*self.running.values(), *self.reader.sequences()]
        return list({id(sequence.job): sequence.job for sequence in sequences}.values())

    def admit(self, admissions: Iterable[Admission]) -> None:
        """Take in samples: their prompts are read from the next `prefill` on."""
        for admission in admissions:
            for sequence in admission.sequences:
                self._begin(sequence)
            if admission.sequences:
                self.reader.add(admission.job.prompt, admission.sequences)
            for sequence in admission.resumed:
                self._resume(sequence)

    def preempt(self, count: int, priority: int) -> None:
        """Park `count` samples that are less urgent than `priority`, if there are so many: the least urgent first."""
        later = [sequence for sequence in self.running.values() if sequence.job.request.priority > priority]
        later.sort(key=lambda sequence: (sequence.job.request.priority, sequence.job.arrival), reverse=True)
        if count == 0 or len(later) < count:
            return
        for sequence in later[:count]:
            holder = self.prefixes.take()
            if holder is None and self._alone:
                return  # a state that is computed again is not the same to the last bit
            self._park(sequence, holder)
        self._gather()

    def _park(self, sequence: Sequence, holder: int | None) -> None:
        """Take a sample out of its slot; its state goes into `holder`, or is computed again from its tokens."""
        if holder is not None:
            self.cache.fork(sequence.slot, [holder])
        sequence.parked = Parked(self.slots.save(sequence.slot), holder)
        self.slots.watched[sequence.slot] = False
        del self.running[sequence.slot]
        self.scheduler.park(sequence)
        self.num_preempted += 1

    def _resume(self, sequence: Sequence) -> None:
        parked, slot = sequence.parked, sequence.slot
        assert parked is not None
        sequence.parked = None
        self.slots.restore(slot, parked.saved)
        if parked.holder is None:
            self.reader.add(np.concatenate([sequence.job.prompt, self.slots.take(slot)[0]]), [sequence])
            return
        self.cache.fork(parked.holder, [slot])
        self.prefixes.give(parked.holder)
        self.running[slot] = sequence
        self._gather()

    def prefill(self) -> None:
        """Read a step's worth of prompts and draw the first token where one is complete."""
        ready = self.reader.step()
        if not ready:
            return
        order = [sequence for sequences, _ in ready for sequence in sequences]
        self.running |= {sequence.slot: sequence for sequence in order}
        rows = [len(sequences) for sequences, _ in ready]
        hidden = torch.stack([row for _, row in ready])
        if self._alone:
            logits = torch.cat([self.model.logits(row[None]) for row in hidden])
        else:
            logits = self.model.logits(hidden)
        slots = np.array([sequence.slot for sequence in order], np.int64)
        self._advance(slots, logits.repeat_interleave(torch.tensor(rows, device=logits.device), 0))

    def decode(self) -> None:
        """One token for every running sample."""
        rows = self._rows
        if not len(rows):
            return
        tokens = torch.from_numpy(self.slots.last[rows]).to(self._device)
        if self._alone:  # always one row: how a product is summed depends on how many there are
            each = zip(tokens.split(1), rows.tolist(), strict=True)
            logits = torch.cat([self._step(token, [row]) for token, row in each])
        else:
            logits = self._step(tokens, rows.tolist())
        self._advance(rows, logits)

    def _step(self, tokens: Tensor, slots: list[int]) -> Tensor:
        """Feed one token i64[B] to each slot; logits [B, V]."""
        asked = np.flatnonzero(self.slots.recorded[slots]).tolist()
        logits, chosen = self._recorder.run(bool(asked), lambda: self.model.decode(tokens, self.cache, slots))
        for i in asked:
            experts = self.running[slots[i]].experts
            assert chosen is not None and experts is not None
            experts.append(chosen[i : i + 1])
        return logits

    def abandon(self, job: Job, error: PalaestraError) -> None:
        """End a job, wherever its samples are, with this error."""
        for sequence in [s for s in self.running.values() if s.job is job]:
            self._leave(sequence.slot)
        for sequence in self.reader.drop(job):
            self.scheduler.release(sequence.slot)
        self.scheduler.remove(job)
        for sequence in job.parked:
            if sequence.parked is not None and sequence.parked.holder is not None:
                self.prefixes.give(sequence.parked.holder)
        job.parked.clear()
        self._gather()
        self._finished(job, error)

    def new_weights(self, version: int) -> None:
        """Later tokens are of this version; kept states are of older weights and go."""
        self.version = version
        self.prefixes.clear()
        self.reader.restart()

    def _begin(self, sequence: Sequence) -> None:
        job, request = sequence.job, sequence.job.request
        watched = needs_watch(request)
        steered = needs_steering(request)
        sequence.watch = Watch(request, self._decoder) if watched else None
        sequence.steering = Steering(request, job.grammar) if steered else None
        sequence.top = [] if request.num_top_logprobs else None
        sequence.experts = [] if request.routed_experts else None
        self.slots.start(
            sequence.slot,
            num_prompt_tokens=len(job.prompt),
            limit=job.limit,
            seed=job.seed + sequence.index,
            temperature=request.temperature if request.temperature >= _COLDEST else 0.0,
            top_p=request.top_p,
            # a complete grammar leaves nothing but a stop token
            heeds_stop=not request.ignore_eos or request.constraint is not None,
            watched=watched,
            steered=steered,
            num_top=request.num_top_logprobs,
            recorded=request.routed_experts,
        )

    def _advance(self, rows: np.ndarray, logits: Tensor) -> None:
        """Draw one token for each of these slots and complete those that are over."""
        slots = self.slots
        faults: dict[int, PalaestraError] = {}
        if self._alone:
            parts = [self._draw(rows[i : i + 1], logits[i : i + 1], faults) for i in range(len(rows))]
            tokens, logprobs, origin = (np.concatenate(part) for part in zip(*parts, strict=True))
        else:
            tokens, logprobs, origin = self._draw(rows, logits, faults)
        over = slots.append(rows, tokens, logprobs, self.version, origin)
        self.num_sampled += len(rows)
        for slot in rows[~np.isfinite(logprobs)].tolist():
            message = f"the policy's logits are not finite (policy version {self.version})"
            faults[slot] = PolicyFault(message, stage="decode")
        for slot, fault in faults.items():
            if slot in self.running:
                self.abandon(self.running[slot].job, fault)
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

    def _draw(
        self, rows: np.ndarray, logits: Tensor, faults: dict[int, PalaestraError]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Tokens i64[B], log-probabilities f32[B] and origins u8[B] of these slots' next tokens."""
        slots = self.slots
        steerings = {}
        if slots.steered[rows].any():
            steerings = {i: self.running[int(rows[i])].steering for i in np.flatnonzero(slots.steered[rows]).tolist()}
        active = [i for i, steering in steerings.items() if steering.active]
        forced, steered = np.zeros(len(rows), np.bool_), None
        if active:
            at = torch.tensor(active, device=logits.device)
            adjusted, forced[active], broken = steer([steerings[i] for i in active], logits[at])
            faults |= {int(rows[active[i]]): fault for i, fault in broken.items()}
            steered = Steered(at, adjusted)
        drawn = draw(logits, slots.temperature[rows], slots.top_p[rows], slots.noise(rows), steered)
        tokens, logprobs = drawn.tokens.cpu().numpy(), drawn.logprobs.cpu().numpy()
        origin = origins(drawn.drift.cpu().numpy(), forced) if active else np.zeros(len(rows), np.uint8)
        for i, steering in steerings.items():
            steering.push(int(tokens[i]))
        if slots.num_top[rows].any():
            self._tell_alternatives(rows, logits, tokens, logprobs)
        return tokens, logprobs, origin

    def _tell_alternatives(self, rows: np.ndarray, logits: Tensor, tokens: np.ndarray, logprobs: np.ndarray) -> None:
        """Keep the likeliest tokens for those who asked."""
        asked = np.flatnonzero(self.slots.num_top[rows])
        wanted = self.slots.num_top[rows[asked]].tolist()
        at = torch.from_numpy(asked).to(logits.device)
        temperature = self.slots.temperature[rows[asked]]
        others, values = alternatives(logits[at], temperature, tokens[asked], logprobs[asked], max(wanted))
        for slot, num, *told in zip(rows[asked].tolist(), wanted, others.tolist(), values.tolist(), strict=True):
            self.running[slot].top.append(list(zip(*told, strict=True))[:num])

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
        tokens, logprobs, versions, origin = self.slots.take(slot)
        job, experts = sequence.job, self._experts(sequence, len(tokens))
        if job.request.keep and not self._alone and versions[0] == self.version:
            # the state has seen every token but the last, which was drawn and never fed
            told = None if experts is None else experts[:-1]
            kept = self.prefixes.put(np.concatenate([job.prompt, tokens[:-1]]), experts=told)
            if kept is not None:
                self.cache.fork(slot, [kept])
        job.samples[sequence.index] = Sample(
            token_ids=tokens,
            logprobs=logprobs,
            versions=versions,
            finish_reason="length" if stop_reason is None else "stop",
            stop_reason=stop_reason,
            origin=origin,
            top_logprobs=sequence.top,
            routed_experts=experts,
        )
        job.num_finished += 1
        if job.done:
            self._finished(job, None)

    def _experts(self, sequence: Sequence, num_tokens: int) -> np.ndarray | None:
        """i16[p + t, layers, k] of a finished sample; its last token was never read."""
        if sequence.experts is None:
            return None
        told = sum(map(len, sequence.experts))
        return np.concatenate([*sequence.experts, self._recorder.blank(len(sequence.job.prompt) + num_tokens - told)])

    def _leave(self, slot: int) -> Sequence:
        """Take a sample out of the batch and give its slot back."""
        self.slots.watched[slot] = False
        self.scheduler.release(slot)
        return self.running.pop(slot)
