"""Weights on their way through compiled code: the bits of torch and zlib, whatever sizes, numbers and place."""

from __future__ import annotations

import itertools
import zlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.kernels.native import library
from model.kernels.native.moving import copy_turned, crc32, turns

PAIRS = [
    *itertools.product((torch.bfloat16, torch.float32), repeat=2),
    (torch.float16, torch.float16),
]
ODD = [0.0, -0.0, float("inf"), -float("inf"), 1e-45, -1e-40, 3.4028235e38, 1.00390625, 1.01171875, 65504.0]


@pytest.mark.parametrize(("stored", "kept"), PAIRS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (16, 16), (15, 17), (33, 64), (80, 47)])
def test_turning_and_rounding_give_the_bits_of_torch(
    stored: torch.dtype, kept: torch.dtype, shape: tuple[int, int]
) -> None:
    rows, columns = shape
    source = (torch.randn(rows, columns) * 100).to(stored)
    flat = source.view(-1)
    flat[: len(ODD)] = torch.tensor(ODD).to(stored)[: len(flat)]
    wide = torch.full((columns, rows + 5), 7.0, dtype=kept)
    assert turns(stored, kept) and copy_turned(source, wide[:, 2 : rows + 2])
    bits = {2: torch.int16, 4: torch.int32}[kept.itemsize]
    assert torch.equal(wide[:, 2 : rows + 2].view(bits), source.t().to(kept).view(bits))
    assert bool((wide[:, :2] == 7).all()) and bool((wide[:, rows + 2 :] == 7).all())


@pytest.mark.parametrize(("stored", "kept"), PAIRS)
def test_what_is_not_a_number_stays_none(stored: torch.dtype, kept: torch.dtype) -> None:
    bits = {2: torch.int16, 4: torch.int32}[stored.itemsize]
    # The quiet one, and one that only the lowest bit tells from infinity.
    infinite = torch.tensor(float("inf"), dtype=stored).view(bits)
    source = torch.stack([torch.tensor(float("nan"), dtype=stored), (infinite + 1).view(stored)]).expand(17, 2)
    target = torch.empty(2, 17, dtype=kept)
    assert copy_turned(source.contiguous(), target) and bool(target.isnan().all())


def test_only_what_it_can_is_taken() -> None:
    x, y = torch.ones(4, 6), torch.zeros(6, 4)
    assert not copy_turned(x.double(), y)
    assert not copy_turned(x.half(), y)
    assert not copy_turned(torch.ones(6, 4).t(), y)
    assert not copy_turned(x, torch.zeros(4, 6).t())
    assert not y.any() and not turns(torch.float64, torch.float32)


@given(content=st.binary(max_size=1200), begun=st.integers(0, 2**32 - 1), at=st.integers(0, 3))
def test_crc_is_that_of_zlib(content: bytes, begun: int, at: int) -> None:
    whole = torch.frombuffer(bytearray(bytes(at) + content + b"."), dtype=torch.uint8)
    assert crc32(whole[at:-1], begun) == zlib.crc32(content, begun)


@pytest.mark.parametrize("nbytes", [255, 256, 257, 511, 512, 513, 1 << 20])
def test_crc_of_whole_blocks_and_what_is_left_of_one(nbytes: int) -> None:
    content = torch.randint(256, (nbytes,), dtype=torch.uint8)
    assert crc32(content) == zlib.crc32(content.numpy().tobytes())


def test_without_a_library_zlib_and_torch_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    content = torch.randint(256, (5000,), dtype=torch.uint8)
    compiled = crc32(content, 3)
    monkeypatch.setenv("PALAESTRA_NATIVE", "0")
    assert library.present() is None and crc32(content, 3) == compiled
    assert not copy_turned(torch.ones(2, 3), torch.empty(3, 2)) and not turns(torch.float32, torch.float32)


def test_nothing_is_compiled_to_move_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library.build, "is_built", lambda real: False)
    library._is_there.cache_clear()
    try:
        assert library.present() is None
    finally:
        monkeypatch.undo()
        library._is_there.cache_clear()
