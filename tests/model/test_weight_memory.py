"""Memories that are opened again and again: mapped once where they come back, held no longer than they are of use."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
import torch

from model.weight_memory import OpenedMemories, WeightMemory


def mapped(memory: WeightMemory) -> int:
    """How often this process maps a memory."""
    inode = f" {memory.handle.inode} "
    gc.collect()
    return sum(inode in line for line in Path("/proc/self/maps").read_text().splitlines())


def test_a_memory_that_comes_back_is_not_mapped_again() -> None:
    opened, ring = OpenedMemories(), [WeightMemory(4096, shared=True) for _ in range(2)]
    addresses = []
    for turn in range(6):
        memory = ring[turn % 2]
        memory.tensor.fill_(turn)
        seen = opened.open(memory.handle)
        assert seen.data_ptr() != memory.tensor.data_ptr() and bool((seen == turn).all())
        addresses.append(seen.data_ptr())
    # The first turn of each is mapped and let go; from the second on each has its place.
    assert addresses[2:] == [*addresses[2:4], *addresses[2:4]] and len(set(addresses[2:])) == 2
    assert [mapped(memory) for memory in ring] == [2, 2]


def test_new_memory_for_every_version_leaves_none_behind() -> None:
    opened, made = OpenedMemories(), []
    for _ in range(4):
        memory = WeightMemory(4096, shared=True)
        served = opened.open(memory.handle)
        made.append(memory)
        assert not served.any()
    del served
    assert [mapped(memory) for memory in made] == [1, 1, 1, 1]  # that of its maker


def test_another_memory_lets_the_kept_ones_go() -> None:
    opened, ring = OpenedMemories(), [WeightMemory(4096, shared=True) for _ in range(2)]
    for turn in range(4):
        opened.open(ring[turn % 2].handle)
    assert [mapped(memory) for memory in ring] == [2, 2]
    opened.open(WeightMemory(4096, shared=True).handle)
    assert [mapped(memory) for memory in ring] == [1, 1]


def test_what_is_kept_is_still_refused_once_its_offer_ended() -> None:
    opened, memory = OpenedMemories(), WeightMemory(4096, shared=True)
    for _ in range(3):
        opened.open(memory.handle)
    memory.close()
    with pytest.raises(ValueError, match="cannot be opened"):
        opened.open(memory.handle)


def test_memory_of_this_process_is_handed_over_as_it_is() -> None:
    memory = WeightMemory(64, shared=False)
    opened = OpenedMemories().open(memory.handle)
    assert opened is memory.tensor and memory.handle.pid == os.getpid()
    assert torch.equal(opened, torch.zeros(64, dtype=torch.uint8))
    memory.close()
