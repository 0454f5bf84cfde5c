"""Routing control over a whole model: record which experts a pass chose, replay a record, ask for a balancing loss.

    with record_experts(model) as record:                    # the sampler
        model.prefill(...)
    experts = record.take()                                  # [T, layers, k], 138 bytes a token for Nano

    with replay_experts(model, experts), balance_terms(model, cu_seqlens, 1e-4) as terms:      # the learner
        loss = objective(model(token_ids, cu_seqlens)) + terms.total() / num_sequences
        loss.backward()

Replay fixes the choice alone: the weights of the chosen experts are those of the live scores, with their gradient
(routing replay, 2510.11370). Each block must stay open until the backward pass has run, for layers that are computed
again ask again. Freezing the gates and moving the selection biases are methods of the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from model.layers.moe import Balance, MoEMixer
from model.stack import HybridModel


class ExpertRecord:
    """The experts chosen since the last `take`, in the order in which the tokens were computed."""

    def __init__(self, chosen: list[list[Tensor]], num_experts: int, top_k: int) -> None:
        self._chosen = chosen
        self._dtype = torch.uint8 if num_experts <= 256 else torch.int16
        self._top_k = top_k

    def take(self) -> Tensor:
        """[T, MoE layers, k] uint8 (int16 beyond 256 experts) on the CPU; the record starts again."""
        with torch.inference_mode(False):
            layers = [torch.cat([part.to("cpu", self._dtype) for part in parts]) for parts in self._chosen if parts]
            for parts in self._chosen:
                parts.clear()
            return torch.stack(layers, 1) if layers else torch.empty(0, len(self._chosen), self._top_k).to(self._dtype)


@contextmanager
def record_experts(model: HybridModel) -> Iterator[ExpertRecord]:
    """Record every pass of `model` through its MoE layers, a recomputation in backward left out."""
    mixers = list(model.moe_layers())
    chosen: list[list[Tensor]] = [[] for _ in mixers]
    before = [mixer.control.recorded for mixer in mixers]
    for mixer, parts in zip(mixers, chosen, strict=True):
        mixer.control.recorded = parts
    try:
        yield ExpertRecord(chosen, model.config.n_routed_experts, model.config.num_experts_per_tok)
    finally:
        for mixer, parts_before in zip(mixers, before, strict=True):
            mixer.control.recorded = parts_before


@contextmanager
def replay_experts(model: HybridModel, experts: Tensor) -> Iterator[None]:
    """Let passes of T tokens take their experts from `experts` [T, MoE layers, k], of any integer type.

    A token with a negative number in a layer chooses there live. Raises ValueError when the record does not fit the
    model, and the pass does when it does not fit the tokens.
    """
    mixers = list(model.moe_layers())
    _check_record(experts, mixers)
    layers = experts.to(model.device, torch.int64).unbind(1)
    before = [mixer.control.replayed for mixer in mixers]
    for mixer, chosen in zip(mixers, layers, strict=True):
        mixer.control.replayed = chosen
    try:
        yield
    finally:
        for mixer, chosen_before in zip(mixers, before, strict=True):
            mixer.control.replayed = chosen_before


class BalanceTerms:
    """The balancing losses of the passes inside the block."""

    def __init__(self, asked: list[Balance]) -> None:
        self._asked = asked

    def per_layer(self) -> Tensor:
        """[MoE layers, sequences], with gradient; the passes added up."""
        return torch.stack([torch.stack(ask.losses).sum(0) for ask in self._asked])

    def total(self) -> Tensor:
        """Summed over layers and sequences: divide by the sequences of the global batch. Zero before any pass."""
        losses = [loss for ask in self._asked for loss in ask.losses]
        return torch.stack([loss.sum() for loss in losses]).sum() if losses else torch.zeros(())


@contextmanager
def balance_terms(
    model: HybridModel, cu_seqlens: Tensor, coefficient: float, counted: Tensor | None = None
) -> Iterator[BalanceTerms]:
    """The sequence-wise balancing loss of each pass over these packed sequences; see `kernels.router_balance`.

    cu_seqlens [B+1] as the pass gets it, counted [T] bool: the tokens that matter (None: all). For pretraining and
    supervised training; reinforcement keeps it off, for it moves log-probabilities away from the sampler's.
    """
    lengths = cu_seqlens.diff()
    sequence = torch.arange(len(lengths), device=lengths.device).repeat_interleave(lengths).to(model.device)
    mixers = list(model.moe_layers())
    asked = [Balance(coefficient, sequence, len(lengths), counted) for _ in mixers]
    before = [mixer.control.balance for mixer in mixers]
    for mixer, ask in zip(mixers, asked, strict=True):
        mixer.control.balance = ask
    try:
        yield BalanceTerms(asked)
    finally:
        for mixer, ask_before in zip(mixers, before, strict=True):
            mixer.control.balance = ask_before


def _check_record(experts: Tensor, mixers: list[MoEMixer]) -> None:
    if experts.is_floating_point() or experts.dtype == torch.bool:
        raise ValueError(f"recorded experts must be whole numbers, got {experts.dtype}")
    top_k = mixers[0].top_k if mixers else 0
    if experts.dim() != 3 or experts.shape[1] != len(mixers) or (mixers and experts.shape[2] != top_k):
        shape = f"[tokens, {len(mixers)} MoE layers, {top_k} experts per token]"
        raise ValueError(f"recorded experts must be {shape}, got {list(experts.shape)}")
    num_experts = len(mixers[0].expert_counts) if mixers else 0
    if experts.device.type == "cpu" and experts.numel() and int(experts.max()) >= num_experts:
        raise ValueError(f"recorded expert {int(experts.max())} is not one of {num_experts}")
