"""What each sequence being generated carries: Mamba states of fixed size, and keys and values that grow.

A slot is one sequence's place in every buffer. Mamba states are [layers, slots, ...], so that one step reads a layer
as one block; keys and values are [layers, slots, Hkv, capacity, dh], where the capacity grows in powers of two.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from model.config import ATTENTION, MAMBA, HybridConfig
from model.kernels.ssd_shape import SSDShape

_FIRST_CAPACITY = 64


class StateCache:
    """conv [Lm, S, K-1, C], keys and values in `dtype`; ssm [Lm, S, G, N, R*P] in fp32 at least; lengths [S] (CPU).

    Every buffer starts as zeros and a reset slot is zeroed, so nothing of an earlier sequence can be read. With `spare`
    (None: on a GPU) there is one slot more.
    """

    def __init__(
        self,
        config: HybridConfig,
        num_slots: int,
        max_length: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
        spare: bool | None = None,
    ) -> None:
        if num_slots < 1 or max_length < 1:
            raise ValueError(f"num_slots and max_length must be positive, got {num_slots} and {max_length}")
        self.num_slots, self.max_length = num_slots, max_length
        on_gpu = device is not None and torch.device(device).type == "cuda"
        self._num_held = num_slots + int(on_gpu if spare is None else spare)
        num_mamba, self.num_attention = len(config.layer_indices(MAMBA)), len(config.layer_indices(ATTENTION))
        self.num_kv_heads, self.head_dim = config.num_key_value_heads, config.head_dim
        shape = SSDShape(config.mamba_num_heads, config.mamba_head_dim, config.n_groups, config.ssm_state_size)
        conv_shape = (num_mamba, self._num_held, config.conv_kernel - 1, config.conv_dim)
        wide = torch.promote_types(dtype, torch.float32)
        with torch.inference_mode(False):
            self.conv = torch.zeros(conv_shape, device=device, dtype=dtype)
            self.ssm = torch.zeros((num_mamba, *shape.states(self._num_held)), device=device, dtype=wide)
            self.lengths = torch.zeros(num_slots, dtype=torch.int64)
        self.keys, self.values = self._empty(0), self._empty(0)
        self.reserve(min(_FIRST_CAPACITY, max_length))

    @property
    def spare(self) -> int | None:
        """The slot behind the others that nobody can name: padded rows of a captured step live there."""
        return self.num_slots if self._num_held > self.num_slots else None

    @property
    def capacity(self) -> int:
        """Positions of keys and values held per slot at present."""
        return self.keys.shape[3]

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in (self.conv, self.ssm, self.keys, self.values, self.lengths))

    def reserve(self, length: int) -> None:
        """Make room for `length` positions per slot; raises ValueError beyond max_length."""
        if length > self.max_length:
            raise ValueError(f"{length} positions do not fit: this cache was made with max_length {self.max_length}")
        if length <= self.capacity:
            return
        capacity = min(1 << (length - 1).bit_length(), self.max_length)
        keys, values = self._empty(capacity), self._empty(capacity)
        keys[..., : self.capacity, :] = self.keys
        values[..., : self.capacity, :] = self.values
        self.keys, self.values = keys, values

    def reset(self, slots: Sequence[int] | Tensor) -> None:
        """Forget these slots' sequences."""
        index = self.slot_index(slots)
        for part in (self.conv, self.ssm, self.keys, self.values):
            part.index_fill_(1, index.to(part.device), 0)
        self.lengths.index_fill_(0, index, 0)

    def fork(self, source: int, targets: Sequence[int] | Tensor) -> None:
        """Copy one slot's sequence into others, which then go on independently: one prefill for n samples."""
        index = self.slot_index(targets)
        self.slot_index([source])
        for part in (self.conv, self.ssm, self.keys, self.values):
            part[:, index.to(part.device)] = part[:, source : source + 1].clone()
        self.lengths[index] = self.lengths[source].clone()

    def swap(self, first: int, second: int) -> None:
        """Exchange two slots' sequences, to keep those that decode together in consecutive slots."""
        pair = self.slot_index([first, second])
        other = pair.flip(0)
        for part in (self.conv, self.ssm, self.keys, self.values):
            part[:, pair.to(part.device)] = part[:, other.to(part.device)]
        self.lengths[pair] = self.lengths[other]

    def slot_index(self, slots: Sequence[int] | Tensor) -> Tensor:
        """[n] int64 on the CPU; raises ValueError for a slot out of range or named twice."""
        numbers = slots.tolist() if isinstance(slots, Tensor) else list(slots)
        if any(not 0 <= slot < self.num_slots for slot in numbers) or len(set(numbers)) != len(numbers):
            raise ValueError(f"slots must be distinct and within 0..{self.num_slots - 1}, got {numbers}")
        return torch.tensor(numbers, dtype=torch.int64)

    def kv_rows(self, slots: Tensor, positions: Tensor) -> Tensor:
        """Where position p of slot s lives in a layer flattened to [S * Hkv * capacity, dh]: [n * Hkv]."""
        heads = slots[:, None] * self.num_kv_heads + torch.arange(self.num_kv_heads, device=slots.device)
        return (heads * self.capacity + positions[:, None]).flatten().to(self.keys.device)

    def write_kv(self, layer: int, rows: Tensor, keys: Tensor, values: Tensor) -> None:
        """Store keys and values [n, Hkv, dh] of attention layer number `layer` at `rows` of `kv_rows`."""
        for buffer, new in ((self.keys, keys), (self.values, values)):
            buffer[layer].view(-1, self.head_dim).index_copy_(0, rows, new.reshape(-1, self.head_dim).to(buffer.dtype))

    def _empty(self, capacity: int) -> Tensor:
        shape = (self.num_attention, self._num_held, self.num_kv_heads, capacity, self.head_dim)
        with torch.inference_mode(False):
            return torch.zeros(shape, device=self.conv.device, dtype=self.conv.dtype)
