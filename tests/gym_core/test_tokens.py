"""Segments, traces and frames: what goes in comes out, and broken bytes are refused."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gym_core.tokens import (
    KINDS,
    MAX_FRAME_BYTES,
    NO_VERSION,
    FrameReader,
    TokenTrace,
    decode_trace,
    encode_segment,
    pack_frame,
    segment_sizes,
    unpack_frame,
)


def trace(n: int, seed: int = 0, layers: int = 0) -> TokenTrace:
    draw = np.random.default_rng(seed)
    mask = draw.random(n) < 0.5
    versions = np.where(mask, draw.integers(0, 3, n), NO_VERSION).astype(np.int32)
    cut = n // 2
    return TokenTrace(
        token_ids=draw.integers(0, 2**31 - 1, n).astype(np.int32),
        logprobs=np.where(mask, -draw.random(n), 0).astype(np.float32),
        loss_mask=mask,
        versions=versions,
        spans=[("prompt", 0, cut), ("answer", cut, n)] if n else [],
        routed_experts=draw.integers(0, 8, (n, layers, 2)).astype(np.uint8) if layers else None,
    )


def same(one: TokenTrace, two: TokenTrace) -> bool:
    for name in ("token_ids", "logprobs", "loss_mask", "versions"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    if one.routed_experts is None or two.routed_experts is None:
        assert one.routed_experts is two.routed_experts
    else:
        np.testing.assert_array_equal(one.routed_experts, two.routed_experts)
    return one.spans == two.spans


@given(st.integers(0, 40), st.integers(0, 5), st.sampled_from([0, 1, 3]))
def test_a_segment_comes_back_as_it_went(n: int, seed: int, layers: int) -> None:
    made = trace(n, seed, layers)
    data = encode_segment(made)
    assert same(decode_trace(data), made)
    (size,) = segment_sizes(data)
    assert (size.num_bytes, size.num_tokens, size.num_trainable) == (len(data), n, int(made.loss_mask.sum()))


@given(st.lists(st.integers(0, 9), min_size=2, max_size=5))
def test_segments_end_to_end_are_one_trace(lengths: list[int]) -> None:
    parts = [trace(n, seed) for seed, n in enumerate(lengths)]
    whole = decode_trace(b"".join(map(encode_segment, parts)))
    assert len(whole) == sum(lengths)
    np.testing.assert_array_equal(whole.token_ids, np.concatenate([part.token_ids for part in parts]))
    np.testing.assert_array_equal(whole.versions, np.concatenate([part.versions for part in parts]))
    assert [kind for kind, _, _ in whole.spans] == [kind for part in parts for kind, _, _ in part.spans]
    assert whole.span_tokens("prompt") == sum(n // 2 for n in lengths)


def test_experts_that_are_not_known_stay_unknown() -> None:
    made = trace(3, layers=2)
    made.routed_experts = np.array([[[0, 254], [-1, -1]], [[1, 2], [3, 4]], [[-1, -1], [-1, -1]]], np.int16)
    whole = decode_trace(encode_segment(trace(2)) + encode_segment(made))
    assert whole.routed_experts is not None
    assert (whole.routed_experts[:2] == -1).all(), "a segment that tells none"
    np.testing.assert_array_equal(whole.routed_experts[2:], made.routed_experts)


def test_an_expert_that_has_no_byte_is_refused() -> None:
    made = trace(2, layers=1)
    made.routed_experts = np.array([[[0, 1]], [[2, 255]]])
    with pytest.raises(ValueError, match="names experts 0 to 254, not 255"):
        encode_segment(made)


def test_segments_of_other_shapes_are_no_trace() -> None:
    with pytest.raises(ValueError, match="different shapes"):
        decode_trace(encode_segment(trace(2, layers=1)) + encode_segment(trace(2, layers=3)))


def test_spans_move_with_their_segment() -> None:
    first, second = trace(4), trace(6)
    whole = decode_trace(encode_segment(first) + encode_segment(second))
    assert whole.spans == [("prompt", 0, 2), ("answer", 2, 4), ("prompt", 4, 7), ("answer", 7, 10)]


def test_no_bytes_are_an_empty_trace() -> None:
    assert len(decode_trace(b"")) == 0
    assert list(segment_sizes(b"")) == []


def test_arrays_of_different_lengths_are_refused() -> None:
    made = trace(3)
    made.logprobs = made.logprobs[:2]
    with pytest.raises(ValueError, match="differ in length: 3, 2, 3, 3"):
        encode_segment(made)


def test_an_unknown_kind_is_refused() -> None:
    made = trace(2)
    made.spans = [("song", 0, 2)]
    with pytest.raises(ValueError, match=r"tuple\.index|song"):
        encode_segment(made)
    assert "song" not in KINDS


@given(st.integers(1, 200))
def test_a_trace_cut_short_is_refused(cut: int) -> None:
    data = encode_segment(trace(8))
    with pytest.raises(ValueError, match=r"segment|blob"):
        decode_trace(data[: -min(cut, len(data) - 1)])


def test_bytes_that_are_no_segment_are_refused() -> None:
    with pytest.raises(ValueError, match="no segment begins at byte 0"):
        decode_trace(b"x" * 64)
    good = encode_segment(trace(3))
    with pytest.raises(ValueError, match=f"no segment begins at byte {len(good)}"):
        decode_trace(good + b"x" * 64)


def test_a_header_that_lies_about_its_tokens_is_refused() -> None:
    data = bytearray(encode_segment(trace(3)))
    struct.pack_into("<I", data, 8, 4)
    with pytest.raises(ValueError, match="should have"):
        decode_trace(bytes(data))


@given(st.lists(st.tuples(st.binary(max_size=30), st.binary(max_size=30)), max_size=5), st.integers(1, 7))
def test_a_stream_of_frames_is_cut_where_it_was_joined(frames: list[tuple[bytes, bytes]], step: int) -> None:
    stream = b"".join(pack_frame(head, blob) for head, blob in frames)
    reader = FrameReader()
    found = [frame for at in range(0, len(stream), step) for frame in reader.feed(stream[at : at + step])]
    assert found == frames
    reader.close()


def test_a_stream_that_ends_inside_a_frame_says_so() -> None:
    reader = FrameReader()
    assert list(reader.feed(pack_frame(b"head", b"blob")[:-1])) == []
    with pytest.raises(ValueError, match="15 bytes left"):  # 8 of lengths, 4 of head, 3 of the blob's 4
        reader.close()


def test_a_frame_over_the_limit_is_refused_before_it_is_read() -> None:
    reader = FrameReader()
    with pytest.raises(ValueError, match="over the limit"):
        list(reader.feed(struct.pack("<II", MAX_FRAME_BYTES, 1)))


def test_one_frame_is_one_message() -> None:
    head, blob = unpack_frame(pack_frame(b"{}", b"\x01\x02"))
    assert (head, bytes(blob)) == (b"{}", b"\x01\x02")
    for broken in (b"", b"1234567", pack_frame(b"{}", b"x") + b"y", pack_frame(b"{}", b"x")[:-1]):
        with pytest.raises(ValueError, match="frame"):
            unpack_frame(broken)
