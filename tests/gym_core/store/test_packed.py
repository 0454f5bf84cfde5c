"""Packed blobs: byte for byte what went in, smaller where tokens repeat, a typed error for anything else."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gym_core.store import StoreFault
from gym_core.store.packed import codec_name, pack, unpack
from gym_core.tokens import TokenTrace, encode_segment


def segment(ids: list[int], experts: int = 0) -> bytes:
    count = len(ids)
    return encode_segment(
        TokenTrace(
            token_ids=np.array(ids, dtype=np.int32),
            logprobs=np.linspace(-3, 0, count, dtype=np.float32),
            loss_mask=np.arange(count) % 2 == 1,
            versions=np.full(count, 3),
            spans=[("answer", 0, count)],
            routed_experts=np.full((count, experts, 2), 7, dtype=np.uint8) if experts else None,
        )
    )


@given(st.lists(st.tuples(st.lists(st.integers(0, 130_000), max_size=30), st.integers(0, 2)), max_size=4))
def test_traces_come_back_byte_for_byte(segments: list[tuple[list[int], int]]) -> None:
    blob = b"".join(segment(ids, experts) for ids, experts in segments)
    assert unpack(pack(blob)) == blob


@given(st.binary(max_size=300))
def test_so_does_anything_else(blob: bytes) -> None:
    assert unpack(pack(blob)) == blob
    assert len(pack(blob)) <= len(blob) + 16


def test_columns_are_smaller_than_the_blob_as_a_whole() -> None:
    import zlib

    draw = np.random.default_rng(0)
    blob = segment(draw.integers(0, 130_000, 4000).tolist(), experts=2)
    assert len(pack(blob)) < len(zlib.compress(blob, 9)) < len(blob)


@given(st.data())
def test_damage_is_never_served(data: st.DataObject) -> None:
    blob = segment(list(range(50)))
    packed = bytearray(pack(blob))
    place = data.draw(st.integers(0, len(packed) - 1))
    packed[place] ^= data.draw(st.integers(1, 255))
    try:
        assert unpack(bytes(packed)) == blob, "a bit that means nothing to the codec"
    except StoreFault:
        return


def test_a_changed_byte_of_the_body_is_a_typed_error() -> None:
    packed = bytearray(pack(segment(list(range(50)))))
    packed[-5] ^= 0xFF
    with pytest.raises(StoreFault):
        unpack(bytes(packed))


@pytest.mark.parametrize("cut", [0, 3, 15, 16, 40])
def test_a_cut_blob_is_a_typed_error(cut: int) -> None:
    with pytest.raises(StoreFault):
        unpack(pack(segment(list(range(50))))[:cut])


def test_without_zstandard_zlib_does_it_and_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("zstandard", reason="pip install 'palaestra[zstd]'")
    blob = segment([1, 2, 3] * 100)
    by_zstd = pack(blob)
    assert codec_name() == "zstd"
    monkeypatch.setitem(sys.modules, "zstandard", None)
    assert codec_name() == "zlib"
    assert unpack(pack(blob)) == blob
    with pytest.raises(StoreFault, match="zstd, which is not installed") as caught:
        unpack(by_zstd)
    assert "palaestra[zstd]" in caught.value.hint
