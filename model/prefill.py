"""Reading tokens into a cache: the training form of every mixer, started from and ending in carried states."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from model.cache import StateCache
from model.layers import native
from model.layers.attention import AttentionMixer
from model.layers.block import Block
from model.layers.mamba import MambaMixer, MambaState
from model.layout import PackedLayout


class _Continuation(NamedTuple):
    """Where the new tokens of one prefill go."""

    layout: PackedLayout
    cache: StateCache
    slots: Tensor  # [B] on the cache's device
    seen: Tensor  # [B] tokens already in each slot, on the CPU
    fresh: bool  # no slot holds anything yet
    kv_rows: Tensor  # [T * Hkv] cache rows of the new keys and values


def prefill(
    blocks: Iterable[Block],
    hidden: Tensor,
    layout: PackedLayout,
    cache: StateCache,
    slots: Sequence[int] | Tensor,
) -> Tensor:
    """Embedded tokens [T, D] through all layers, sequence b after what slots[b] holds; see `HybridModel.prefill`."""
    plan, blocks = _continuation(layout, cache, cache.slot_index(slots)), list(blocks)
    if _in_one_call(blocks, hidden, plan):
        hidden = _read(blocks, hidden, plan)
        cache.lengths[plan.slots.cpu()] += layout.lengths
        return hidden
    mamba = attention = 0
    for block in blocks:
        if isinstance(block.mixer, MambaMixer):
            hidden = _prefill_mamba(block, block.mixer, hidden, plan, mamba)
            mamba += 1
        elif isinstance(block.mixer, AttentionMixer):
            hidden = _prefill_attention(block, block.mixer, hidden, plan, attention)
            attention += 1
        else:
            hidden = block(hidden, layout)
    cache.lengths[plan.slots.cpu()] += layout.lengths
    return hidden


def pieces(seen: int, length: int, size: int) -> Iterator[tuple[int, int]]:
    """Cut the next `length` tokens of a sequence at multiples of `size`, counted from its first token."""
    first = 0
    while first < length:
        last = min(length, first + size - (seen + first) % size)
        yield first, last
        first = last


def _continuation(layout: PackedLayout, cache: StateCache, slots: Tensor) -> _Continuation:
    if len(slots) != layout.num_sequences:
        raise ValueError(f"{layout.num_sequences} sequences need as many slots, got {len(slots)}")
    seen = cache.lengths[slots]
    cache.reserve(int((seen + layout.lengths).max()))
    first = (seen - layout.starts).repeat_interleave(layout.lengths)
    positions = torch.arange(layout.num_tokens) + first
    rows = cache.kv_rows(slots.repeat_interleave(layout.lengths), positions)
    device = cache.conv.device
    return _Continuation(layout, cache, slots.to(device), seen, not bool(seen.any()), rows)


def _in_one_call(blocks: list[Block], x: Tensor, plan: _Continuation) -> bool:
    """Whether one compiled call serves: compiled attention sees no keys of before."""
    if plan.cache.conv.dtype != x.dtype or not native.takes_all(x, blocks, plan.layout):
        return False
    return plan.fresh or not any(isinstance(block.mixer, AttentionMixer) for block in blocks)


def _read(blocks: list[Block], x: Tensor, plan: _Continuation) -> Tensor:
    cache, slots = plan.cache, plan.slots
    before = None if plan.fresh else (cache.conv[:, slots], cache.ssm[:, slots])
    reading, keys_values = native.read_all(x, blocks, plan.layout, before)
    if reading.ssm.numel():
        cache.conv.index_copy_(1, slots, reading.conv)
        cache.ssm.index_copy_(1, slots, reading.ssm)
    for layer, (keys, values) in enumerate(keys_values):
        cache.write_kv(layer, plan.kv_rows, keys, values)
    return reading.hidden


def _prefill_mamba(block: Block, mixer: MambaMixer, x: Tensor, plan: _Continuation, layer: int) -> Tensor:
    cache = plan.cache
    state = None if plan.fresh else MambaState(cache.conv[layer][plan.slots], cache.ssm[layer][plan.slots])
    if cache.conv.dtype == x.dtype and native.takes(x, block.norm, mixer, plan.layout):
        y, final = native.prefill_mamba(x, block.norm, mixer, block.eps, plan.layout, state)
    else:
        y, final = mixer.prefill(block.normalise(x), x, plan.layout, state)
    cache.conv[layer].index_copy_(0, plan.slots, final.conv.to(cache.conv.dtype))
    cache.ssm[layer].index_copy_(0, plan.slots, final.ssm.to(cache.ssm.dtype))
    return y


def _prefill_attention(block: Block, mixer: AttentionMixer, x: Tensor, plan: _Continuation, layer: int) -> Tensor:
    cache = plan.cache
    if plan.fresh and native.takes(x, block.norm, mixer, plan.layout):
        y, keys, values = native.prefill_attention(x, block.norm, mixer, block.eps, plan.layout)
        cache.write_kv(layer, plan.kv_rows, keys, values)
        return y
    qkv, keys, values = mixer.project(block.normalise(x))
    cache.write_kv(layer, plan.kv_rows, keys, values)
    if plan.fresh:
        return mixer.attend(qkv, x, plan.layout)
    held = cache.keys[layer], cache.values[layer]
    return mixer.continue_from(qkv, x, plan.layout, *held, plan.slots.cpu(), plan.seen)
