"""All weights of a model as one block of bytes, so that new ones can be handed over without a copy for each tensor.

    learner's model ──write──▶ memory u8[nbytes] ──adopt──▶ served model: its tensors are views of the memory

Each parameter and buffer lies in it as it lies inside the model; a released tensor is a strided view of that. Two
models of one configuration and dtype have the same places, and then adopting is an exchange of addresses. Whoever
lays its weights out differently reads `views` by name.
"""

from __future__ import annotations

import bisect
import sys
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from model.checkpoint_names import state_tensors
from model.kernels.native.moving import crc32
from model.stack import HybridModel

_ALIGNMENT = 64
_THREADS = 2
_ALONE_BYTES = 16 << 20
"""Less is hashed sooner than threads have been started and have had the interpreter in turn."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a released tensor lies: `offset` in bytes, `stride` in elements, `dtype` by torch's name."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a parameter or kept buffer lies whole, by the name the model itself has for it."""

    name: str
    dtype: torch.dtype
    shape: torch.Size
    offset: int

    def of(self, memory: Tensor) -> Tensor:
        """Its part of memory u8[nbytes], as a view."""
        nbytes = self.shape.numel() * self.dtype.itemsize
        return memory[self.offset : self.offset + nbytes].view(self.dtype).view(self.shape)


def slots_of(model: HybridModel) -> list[Slot]:
    """Every parameter and kept buffer in its order, for whoever has them one by one; on `meta` too."""
    starts = {id(tensor): start for tensor, start in _blocks(model)}
    named = (*model.named_parameters(), *model.named_buffers())
    return [Slot(name, t.dtype, t.shape, starts[id(t)]) for name, t in named if id(t) in starts]


def places_of(model: HybridModel) -> tuple[list[Place], int]:
    """Where every released tensor of such a model lies, and the bytes of the whole. A model on `meta` will do too."""
    blocks = _blocks(model)
    by_storage: dict[int, list[tuple[int, int]]] = {}
    for tensor, start in blocks:
        by_storage.setdefault(_storage(tensor), []).append((_begin(tensor), start))
    for known in by_storage.values():
        known.sort()
    found = []
    for name, tensor in state_tensors(model):
        known = by_storage[_storage(tensor)]
        begin, start = known[bisect.bisect_right(known, (_begin(tensor), sys.maxsize)) - 1]
        at = start + _begin(tensor) - begin
        found.append(Place(name, str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape), tensor.stride(), at))
    last, start = blocks[-1]
    return found, start + last.nbytes


def write(model: HybridModel, memory: Tensor) -> None:
    """Copy every parameter and buffer into memory u8[nbytes]."""
    for tensor, start in _blocks(model):
        _part(memory, tensor, start).copy_(tensor.detach())


def adopt(model: HybridModel, memory: Tensor) -> None:
    """Let every parameter and buffer be a part of memory u8[nbytes], which must then stay as it is.

    The model is on the CPU; what its tensors were before is given free.
    """
    with torch.inference_mode(False), torch.no_grad():
        for tensor, start in _blocks(model):
            tensor.data = _part(memory, tensor, start)
    model.forget_plan()


def holds(model: HybridModel, memory: Tensor) -> bool:
    """Whether every parameter and buffer of the model is a part of this memory, at its place."""
    return all(tensor.data_ptr() == memory.data_ptr() + start for tensor, start in _blocks(model))


def views(places: Sequence[Place], memory: Tensor) -> dict[str, Tensor]:
    """The released tensors as views of memory u8[nbytes]. Raises ValueError for one that reaches beyond it."""
    return {place.name: _view(place, memory) for place in places}


def checksums(tensors: Iterable[tuple[str, Tensor]]) -> dict[str, str]:
    """CRC-32 by name, over dtype, shape and the bytes in the order in which they are stored.

    Tensors that are dense but turned are not copied; the order is part of what is hashed.
    """
    named = list(tensors)
    if sum(tensor.nbytes for _, tensor in named) < _ALONE_BYTES:
        return {name: _checksum(tensor) for name, tensor in named}
    with ThreadPoolExecutor(_THREADS) as pool:
        return dict(zip((name for name, _ in named), pool.map(_checksum, (each for _, each in named)), strict=True))


def _checksum(tensor: Tensor) -> str:
    flat = tensor.detach()
    strides = flat.stride()
    order = sorted(range(flat.dim()), key=lambda axis: (-strides[axis], axis))
    dense = flat.permute(order)
    if not dense.is_contiguous():
        order, dense = list(range(flat.dim())), flat.contiguous()
    head = f"{flat.dtype} {tuple(flat.shape)} {order}".encode()
    return f"{crc32(dense.cpu().view(-1).view(torch.uint8), zlib.crc32(head)):08x}"


def _blocks(model: HybridModel) -> list[tuple[Tensor, int]]:
    """Every parameter and kept buffer, and where it begins in the memory."""
    dropped = {id(mixer.expert_counts) for mixer in model.moe_layers()}
    found, at = [], 0
    for tensor in (*model.parameters(), *model.buffers()):
        if id(tensor) not in dropped:
            found.append((tensor, at))
            at += -(-tensor.nbytes // _ALIGNMENT) * _ALIGNMENT
    return found


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _begin(tensor: Tensor) -> int:
    """Byte of its storage at which a tensor begins."""
    return int(tensor.storage_offset()) * tensor.element_size()


def _part(memory: Tensor, tensor: Tensor, start: int) -> Tensor:
    return memory[start : start + tensor.nbytes].view(tensor.dtype).view(tensor.shape)


def _view(place: Place, memory: Tensor) -> Tensor:
    dtype = getattr(torch, place.dtype, None)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"{place.name} has the unknown dtype {place.dtype!r}")
    reach = sum((size - 1) * stride for size, stride in zip(place.shape, place.stride, strict=True)) + 1
    negative = place.offset < 0 or min((*place.shape, *place.stride), default=0) < 0
    if negative or place.offset % dtype.itemsize or place.offset + reach * dtype.itemsize > len(memory):
        raise ValueError(f"{place.name} does not lie within the {len(memory)} bytes that were handed over")
    part = memory[place.offset : place.offset + reach * dtype.itemsize]
    return part.view(dtype).as_strided(place.shape, place.stride)
