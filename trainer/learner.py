"""The learner: a model, its optimizer, and the three things done with them: warm start, GRPO step, scoring.

One GRPO step over a batch of samples:

    1. old log-probabilities: a forward without gradient over minibatches 2..K; minibatch 1 is on-policy, so its own
       training forward gives them and its ratio is exactly 1
    2. importance weights against the sampler's log-probabilities; tokens out of bounds are masked
    3. the gate: past it the step raises before anything has moved
    4. per minibatch: clipped surrogate over packed micro-batches, one normaliser, gradient clip, optimizer step
    5. the expert bias follows the load
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from gym_core.errors import PalaestraError
from gym_core.seeds import rng
from model.routing import replay_experts
from model.stack import HybridModel
from trainer import optim, router
from trainer.config import GrpoRecipe, ObjectiveRecipe
from trainer.dropped import leave_out, share_of_dropped
from trainer.held_model import HeldModel
from trainer.metrics import Metrics
from trainer.mismatch import ImportancePolicy, Mismatch
from trainer.objective import kl_to_reference, normaliser, surrogate
from trainer.pack import MicroBatch, Sample, pack

AUDITED = 16
"""Samples whose mismatch is measured in a step that has nothing to learn from."""


class NonFinite(PalaestraError):
    """A loss or gradient that is not a number: the step was not applied."""

    code = "non_finite"


class Learner(HeldModel):
    """Trains the model that it holds."""

    def __init__(self, model: HybridModel, recipe: GrpoRecipe, objective: ObjectiveRecipe, *, seed: int = 0) -> None:
        super().__init__(model, recipe, objective, seed=seed)
        self.importance = ImportancePolicy.of(objective)
        self._dropped = 0.0

    def sft_step(
        self, samples: Sequence[Sample], lr_scale: float = 1.0, aux_loss_coef: float = 0.0
    ) -> dict[str, float]:
        """One warm-start step: mean negative log-likelihood of the trained tokens. Returns reduced metrics.

        `aux_loss_coef` adds the balancing loss of the experts, averaged over the samples; `sft/loss` leaves it out.
        """
        began = time.process_time()
        normaliser = _num_trained(samples)
        total = aux_total = entropy_sum = 0.0
        self.model.train()
        for batch in self._pack(samples):
            with router.auxiliary(self.model, batch.cu_seqlens, aux_loss_coef) as balancing:
                logprobs, entropy = self._forward(batch)
                loss = -logprobs.sum() / normaliser
                aux = None if balancing is None else balancing.total() / len(samples)
                (loss if aux is None else loss + aux).backward()
            total += float(loss.detach())
            aux_total += 0.0 if aux is None else float(aux.detach())
            entropy_sum += float(entropy.detach().sum())
        norm = self._apply(self.recipe.grad_clip, lr_scale, total + aux_total)
        load = self._balance(self.recipe.expert_bias_rate)
        return {
            "sft/loss": total,
            **({"sft/aux_loss": aux_total} if aux_loss_coef else {}),
            "sft/entropy": entropy_sum / normaliser,
            "sft/grad_norm": norm,
            "sft/cpu_seconds": time.process_time() - began,
            **load,
        }

    def step(self, samples: Sequence[Sample], step: int = 0) -> dict[str, float]:
        """One GRPO step over the whole batch (see the module's text). Returns reduced metrics.

        Samples without advantage teach nothing and are left out, of the normaliser too unless the recipe counts them;
        a batch with none left moves nothing, and its mismatch is measured on a few of them all the same. Raises
        MismatchExceeded before anything moved.
        """
        began = time.perf_counter()
        metrics = Metrics()
        whole = self.objective.normalise_over == "all"
        anchored = whole and self.reference is not None  # then the anchor has a say on every token
        used = [sample for sample in samples if sample.num_trained and (anchored or sample.advantage != 0.0)]
        metrics.sum("num_valid_samples", len(used))
        metrics.mean("used_sample_share", len(used), len(samples))
        if used:
            idle = [sample for sample in samples if sample.num_trained and sample.advantage == 0.0]
            counted_besides = 0.0 if anchored or not whole else self.normaliser(idle)
            self._update(self._minibatches(used, step), step, metrics, counted_besides)
        elif audited := [sample for sample in samples if sample.num_trained][:AUDITED]:
            mismatch = Mismatch()
            for batch in self._pack(audited):
                self._old_logprobs(batch, mismatch)
            self._check(mismatch, metrics)
        metrics.sum("policy_training_time", time.perf_counter() - began)
        return metrics.reduce()

    def _minibatches(self, samples: list[Sample], step: int) -> list[list[Sample]]:
        """Shuffled, so that every minibatch has some of every environment, and split evenly."""
        order = list(range(len(samples)))
        rng(self.seed, "minibatches", step).shuffle(order)
        count = min(self.recipe.minibatches, len(samples))
        return [[samples[i] for i in order[part::count]] for part in range(count)]

    def _update(
        self, minibatches: list[list[Sample]], step: int, metrics: Metrics, counted_besides: float = 0.0
    ) -> None:
        packed = [self._pack(samples) for samples in minibatches]
        share = counted_besides / len(minibatches)
        normalisers = [self.normaliser(samples) + share for samples in minibatches]
        metrics.sum("global_valid_toks", sum(map(_num_trained, minibatches)))
        mismatch, own = Mismatch(), Metrics()
        old: list[list[Tensor | None]] = [[None] * len(packed[0])]
        old += [[self._old_logprobs(batch, mismatch) for batch in batches] for batches in packed[1:]]
        lr_scale = optim.warmup(step, self.recipe.warmup)
        for number, batches in enumerate(packed):
            self.model.train()
            loss = self._dropped = 0.0
            for batch, known in zip(batches, old[number], strict=True):
                loss += self._accumulate(batch, known, normalisers[number], mismatch, own)
            loss = self._summed(loss) * self._leave_out(normalisers[number])
            if number == 0:
                self._check(mismatch, metrics)
            metrics.mean("loss", loss, 1)
            metrics.mean("grad_norm", self._apply(self.recipe.grad_clip, lr_scale, loss), 1)
        metrics.merge(self._merged(own))
        metrics.last("lr", self.recipe.lr * lr_scale)
        for name, value in self._balance(self.recipe.expert_bias_rate).items():
            metrics.last(name, value)

    def _accumulate(
        self, batch: MicroBatch, old: Tensor | None, normaliser: float, mismatch: Mismatch, metrics: Metrics
    ) -> float:
        """Forward, backward and counts of one micro-batch; returns its share of the loss."""
        with self._replayed(batch):  # open in the backward too: layers that are computed again choose again
            return self._accumulate_replayed(batch, old, normaliser, mismatch, metrics)

    def _accumulate_replayed(
        self, batch: MicroBatch, old: Tensor | None, normaliser: float, mismatch: Mismatch, metrics: Metrics
    ) -> float:
        o = self.objective
        logprobs, entropy = self._forward(batch)
        on_policy = old is None
        old = logprobs.detach() if old is None else old
        weights = self._weights(batch, old)
        kept = self.importance.kept(old, batch.gen_logprobs, batch.sequence, batch.num_sequences)
        if on_policy:
            mismatch.add(old, batch.gen_logprobs, weights)
        anchor = None if self.reference is None else self._reference_logprobs(batch)
        result = surrogate(
            logprobs, old, batch.advantages, weights, batch.sequence, batch.num_sequences, normaliser,
            clip_low=o.clip_low, clip_high=o.clip_high, ratio=o.ratio, clip=o.clip, dual_clip=o.dual_clip or None,
            aggregate=o.aggregate, constant=o.constant or self.recipe.max_output_tokens,
            reference_logprobs=anchor, kl_coef=o.kl_coef, kept=kept,
        )  # fmt: skip
        result.loss.backward()
        count = len(batch.rows)
        if anchor is not None:
            metrics.mean("kl_penalty", float(kl_to_reference(logprobs.detach(), anchor).sum()), count)
        metrics.mean("entropy", float(entropy.detach().sum()), count)
        metrics.mean("probs_ratio", float(result.ratio.sum()), count)
        clamped = result.ratio.clamp(1.0 - o.clip_low, 1.0 + o.clip_high)
        metrics.mean("probs_ratio_clamped", float(clamped.sum()), count)
        metrics.min("probs_ratio_min", float(result.ratio.min()))
        metrics.max("probs_ratio_max", float(result.ratio.max()))
        metrics.mean("clip_ratio/low", float(result.clipped_low), count)
        metrics.mean("clip_ratio/high", float(result.clipped_high), count)
        if kept is not None:
            metrics.sum("num_masked_seqs_by_logprob_error", int((~kept).sum()))
            self._dropped += share_of_dropped(kept, batch.sequence, o.aggregate)
        return float(result.loss.detach())

    def _leave_out(self, normaliser: float) -> float:
        """The factor by which the loss, and now the gradients, grow as dropped sequences leave the normaliser."""
        if self.importance.sequence_error_max is None:
            return 1.0
        return leave_out(self.model, self._summed(self._dropped), normaliser)

    def _reference_logprobs(self, batch: MicroBatch) -> Tensor:
        assert self.reference is not None
        with torch.no_grad(), self._replayed(batch, self.reference):
            logprobs, _ = self._forward(batch, self.reference)
        return logprobs

    def _old_logprobs(self, batch: MicroBatch, mismatch: Mismatch) -> Tensor:
        self.model.eval()
        with torch.no_grad(), self._replayed(batch):
            logprobs, _ = self._forward(batch)
        mismatch.add(logprobs, batch.gen_logprobs, self._weights(batch, logprobs))
        return logprobs

    def _weights(self, batch: MicroBatch, old: Tensor) -> Tensor:
        return self.importance.weights(old, batch.gen_logprobs, batch.sequence, batch.num_sequences)

    def normaliser(self, samples: Sequence[Sample]) -> float:
        """N of a global batch of these samples."""
        return normaliser(_num_trained(samples), len(samples), self.objective.aggregate)

    def _check(self, mismatch: Mismatch, metrics: Metrics) -> None:
        n = mismatch.num_tokens
        metrics.mean("token_mult_prob_error", mismatch.mult_sum, n)
        metrics.mean("gen_kl_error", mismatch.kl_sum, n)
        metrics.mean("sampling_importance_ratio", mismatch.weight_sum, n)
        metrics.mean("is_oob_ratio", mismatch.num_masked, n)
        metrics.max("logprob_abs_diff_max", mismatch.abs_max)
        try:
            mismatch.check(self.recipe.mismatch_gate)
        except PalaestraError:
            self.optimizer.zero_grad()
            self._balance(0.0)
            raise

    def _apply(self, grad_clip: float, lr_scale: float, loss: float) -> float:
        """Clip, step, clear; returns the norm before clipping. Raises NonFinite with nothing applied."""
        norm = self._clip(grad_clip)
        if not np.isfinite([norm, loss]).all():
            self.optimizer.zero_grad()
            self._balance(0.0)
            raise NonFinite(f"loss {loss} with gradient norm {norm}", stage="learner", server="trainer")
        self.optimizer.scale_lr(lr_scale)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return norm

    def _clip(self, max_norm: float) -> float:
        """Scale the gradients to a norm of at most `max_norm`; returns the norm before."""
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        return float(nn.utils.clip_grad_norm_(parameters, max_norm))

    def _balance(self, rate: float) -> dict[str, float]:
        return router.balance(self.model, rate)

    def _summed(self, loss: float) -> float:
        """The loss of all replicas of the data; here is one. So for the two below."""
        return loss

    def _merged(self, own: Metrics) -> Metrics:
        return own

    def _scores(self, own: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
        return own

    def _replay_rows(self, experts: Tensor) -> Tensor:
        return experts

    @contextmanager
    def _replayed(self, batch: MicroBatch, model: HybridModel | None = None) -> Iterator[None]:
        """Where the sampler recorded its experts, passes over the batch take them (routing replay, 2510.11370)."""
        if batch.experts is None:
            yield
            return
        with replay_experts(model or self.model, self._replay_rows(batch.experts)):
            yield

    def _forward(
        self, batch: MicroBatch, model: HybridModel | None = None, temperature: float | None = None
    ) -> tuple[Tensor, Tensor]:
        """Log-probabilities and entropy of the trained tokens [M], at the sampling temperature unless told."""
        model, temperature = model or self.model, temperature or self.temperature
        hidden = model(batch.token_ids, batch.cu_seqlens).index_select(0, batch.rows)
        if temperature != 1.0:
            hidden = hidden / temperature  # the head is linear: scaling its input is scaling the logits
        return model.token_logprobs(hidden, batch.targets)

    @property
    def temperature(self) -> float:
        return 1.0 if self.phase == "sft" else self.recipe.temperature

    def _pack(self, samples: Sequence[Sample]) -> list[MicroBatch]:
        reference = next(self.model.parameters())
        dtype = torch.float64 if reference.dtype == torch.float64 else torch.float32
        return [batch.to(reference.device) for batch in pack(samples, self.recipe.tokens_per_microbatch, dtype)]

    def score(self, sequences: Iterable[Sequence[int]]) -> list[np.ndarray]:
        """Log-probability of every token given those before it, at temperature 1; f32[n], 0.0 at the first."""
        samples = []
        for ids in sequences:
            mask = np.ones(len(ids), bool)
            mask[:1] = False
            samples.append(Sample(np.asarray(ids, np.int32), mask, np.zeros(len(ids), np.float32)))
        out: dict[int, np.ndarray] = {}
        self.model.eval()
        with torch.no_grad():
            for batch in self._pack(samples):
                logprobs, _ = self._forward(batch, temperature=1.0)
                out.update(batch.unpack(logprobs, samples))
        out = self._scores(out)
        return [out[index].astype(np.float32) for index in range(len(samples))]


def _num_trained(samples: Sequence[Sample]) -> int:
    return sum(sample.num_trained for sample in samples)
