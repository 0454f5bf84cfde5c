"""Decoding on a GPU as captured graphs: one launch for a step instead of one for each of its hundreds of operations.

    tokens, slots, lengths ─▶ static buffers, padded to a bucket ─▶ replay ─▶ logits[:count]
                                                    └─ first time in this bucket: warm up, capture

Everything that changes from step to step lies in the static buffers and is read on the device. Rows of padding are
those of the cache's spare slot. A graph names addresses: weights are updated in place, so it stays valid then (what is
joined of them follows, also in place); where a weight, a buffer of the cache or its capacity is another piece of
memory, it is captured again. What a pass is asked beyond choosing experts (replay, balance) is not captured.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from model.cache import StateCache
from model.decode import Batch, Step, build_steps, rms_norm_step
from model.kernels.linear import product
from model.layers.block import Block
from model.layers.linear import Linear, RMSNorm
from model.layers.moe import MoEMixer

log = logging.getLogger(__name__)

Replay = Callable[[], None]
Capture = Callable[[Callable[[], None]], Replay]
"""Takes what a step does over static buffers; gives what does it again."""


def wanted(cache: StateCache) -> bool:
    """Whether steps over this cache run as graphs: it is on a GPU, and PALAESTRA_CUDA_GRAPHS is not 0."""
    return cache.conv.is_cuda and os.environ.get("PALAESTRA_CUDA_GRAPHS", "1") != "0"


def bucket_of(count: int) -> int:
    """Rows of the graph for `count` sequences: 1, 2, 4, 8, then in eights, from 64 on in thirty-twos."""
    if count <= 8:
        return 1 << (count - 1).bit_length()
    size = 8 if count <= 64 else 32
    return -(-count // size) * size


def capture_cuda(step: Callable[[], None]) -> Replay:
    """Capture on the current device; kernels are compiled and memory is found by two passes before."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(2):
            step()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    # other threads may use the GPU meanwhile: a learner in this process, weights on their way
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        step()
    return graph.replay


class StaticStep(NamedTuple):
    """One bucket: given i64[3, B] (tokens, slots, lengths), logits [B, V], experts [MoE layers] of [B, k]."""

    given: Tensor
    logits: list[Tensor]
    experts: list[Tensor]
    replay: Replay


class DecodeGraphs:
    """The captured steps of one model. `capture` is torch's; tests give one that only runs the step again."""

    def __init__(
        self,
        embeddings: Linear,
        blocks: Sequence[Block],
        norm: RMSNorm,
        head: Linear,
        eps: float,
        capture: Capture = capture_cuda,
    ) -> None:
        self._embeddings, self._norm, self._head, self._eps = embeddings, norm, head, eps
        self._blocks, self._capture = blocks, capture
        self._moe = [block.mixer for block in blocks if isinstance(block.mixer, MoEMixer)]
        modules = (embeddings, *blocks, norm, head)
        self._watched = [part for module in modules for part in (*module.parameters(), *module.buffers())]
        self._steps: list[Step] = []
        self._graphs: dict[int, StaticStep] = {}
        self._memory: list[tuple[int, torch.Size]] = []
        self._versions: list[int] = []
        self.num_captured = 0
        self.broken = False

    def serves(self) -> bool:
        """Whether the next step can be a graph: the last capture worked, and nothing but choosing is asked."""
        asked = any(mixer.control.replayed is not None or mixer.control.balance is not None for mixer in self._moe)
        return not (asked or self.broken)

    def step(self, token_ids: Tensor, cache: StateCache, index: Tensor) -> Tensor | None:
        """token_ids [B], slots i64[B] on the CPU -> logits [B, V]; None, no sequence moved, where none is captured."""
        lengths, count = cache.lengths.index_select(0, index), len(index)
        cache.reserve(int(lengths.max()) + 1)
        self._follow_memory(cache)
        try:
            bucket = self._graphs.get(bucket_of(count)) or self._captured(bucket_of(count), cache)
        except RuntimeError:
            log.exception("a decoding step could not be captured as a CUDA graph; steps run without")
            self.broken = True
            return None
        self._fill(bucket.given, token_ids, index, lengths, cache)
        bucket.replay()
        cache.lengths.index_add_(0, index, torch.ones_like(index))
        for mixer, chosen in zip(self._moe, bucket.experts, strict=True):
            if mixer.control.recorded is not None:
                mixer.control.recorded.append(chosen[:count].clone())
        return bucket.logits[0][:count].clone()  # the next replay overwrites it

    def _follow_memory(self, cache: StateCache) -> None:
        """Forget the graphs where what they name is elsewhere now; make joined weights again where one was changed."""
        buffers = (cache.conv, cache.ssm, cache.keys, cache.values)
        # with shapes: what is freed may be given away again, to a cache of another size too
        memory = [(part.data_ptr(), part.shape) for part in (*self._watched, *buffers)]
        versions = [part._version for part in self._watched]
        if memory != self._memory:
            self._graphs.clear()
            self._steps = build_steps(self._blocks)
        elif versions != self._versions:
            for step in self._steps:
                step.refresh()
        self._memory, self._versions = memory, versions

    def _captured(self, size: int, cache: StateCache) -> StaticStep:
        """Capture a bucket. Meanwhile every row is one of padding, so no sequence moves."""
        device = cache.conv.device
        given = torch.zeros(3, size, dtype=torch.int64, device=device)
        logits: list[Tensor] = []
        experts: list[Tensor] = []
        nobody = torch.zeros(0, dtype=torch.int64)
        self._fill(given, nobody, nobody, nobody, cache)

        def run() -> None:
            logits[:], experts[:] = self._compute(given, cache)

        replay = self._capture(run)
        self.num_captured += 1
        self._graphs[size] = StaticStep(given, logits, experts, replay)
        return self._graphs[size]

    def _fill(self, given: Tensor, tokens: Tensor, slots: Tensor, lengths: Tensor, cache: StateCache) -> None:
        count = len(slots)
        assert cache.spare is not None
        staged = torch.zeros(2, given.shape[1], dtype=torch.int64, pin_memory=given.is_cuda)
        staged[0] = cache.spare
        staged[0, :count], staged[1, :count] = slots, lengths
        given[1:].copy_(staged, non_blocking=True)
        given[0, :count].copy_(tokens)
        given[0, count:] = 0

    def _compute(self, given: Tensor, cache: StateCache) -> tuple[list[Tensor], list[Tensor]]:
        """The step over static buffers, waiting for nothing on the host: ([logits], experts of each MoE layer)."""
        tokens, slots, lengths = given.unbind(0)
        rows = cache.kv_rows(slots, lengths)
        batch = Batch(
            cache.conv, cache.ssm, cache, slots, None, rows, (lengths + 1)[:, None], cache.capacity, whose=slots
        )
        before = [mixer.control.recorded for mixer in self._moe]
        chosen: list[list[Tensor]] = [[] for _ in self._moe]
        for mixer, noted in zip(self._moe, chosen, strict=True):
            mixer.control.recorded = noted
        try:
            hidden = self._embeddings.weight.index_select(0, tokens)
            for step in self._steps:
                hidden = step(hidden, batch)
        finally:
            for mixer, noted_before in zip(self._moe, before, strict=True):
                mixer.control.recorded = noted_before
        logits = product(rms_norm_step(hidden, self._norm.weight, self._eps), self._head.weight)
        wide = logits if logits.dtype == torch.float64 else logits.float()
        return [wide], [parts[0] for parts in chosen]
