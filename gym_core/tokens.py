"""The token plane: what the policy emitted, as bytes that nobody on the way has to open.

A **segment** is one turn at the policy server: the prompt tokens it added (mask 0) and the tokens it sampled (mask 1).
A **trace** is segments laid end to end, so an agent extends a trace by appending bytes and sends the same bytes back
for the next turn. A **frame** is one JSON head with one blob; it carries both planes over one HTTP message.

    segment = header | token_ids i32[n] | logprobs f32[n] | loss_mask u8[n] padded to 4
              | version spans i32[v, 3] (start, end, version) | kind spans i32[k, 3] (kind, start, end)
              | routed experts u8[n, layers, top_k] padded to 4, 255 where none is known
    frame   = u32 head bytes | u32 blob bytes | head | blob            (all little-endian)

numpy is imported by the functions that look inside; framing and appending need none.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

FRAME_TYPE = "application/x-palaestra-frame"
"""Content type of one frame, or of a stream of them."""

NO_VERSION = -1
"""The policy version of a token that no policy sampled (prompt, tool result)."""

KINDS = ("prompt", "think", "answer", "tool_call")
"""Names of the kind spans, by their number on the wire."""

MAX_EXPERTS = 255
"""Experts of a layer that a segment can name; the number after the last one means that none is known."""

_MAGIC = b"PTS1"
_HEADER = struct.Struct("<4sIIIIHHI")  # magic, bytes, tokens, version spans, kind spans, layers, top_k, trainable
HEADER_BYTES = _HEADER.size
_FRAME = struct.Struct("<II")
MAX_FRAME_BYTES = 1 << 30


@dataclass(slots=True)
class TokenTrace:
    """A trace opened for training.

    token_ids i32[n]; logprobs f32[n] (0 where not sampled); loss_mask bool[n]; versions i32[n] (`NO_VERSION` where not
    sampled); spans [(kind, start, end)]; routed_experts i16[n, layers, top_k], -1 where none is known, or None.
    """

    token_ids: np.ndarray
    logprobs: np.ndarray
    loss_mask: np.ndarray
    versions: np.ndarray
    spans: list[tuple[str, int, int]] = field(default_factory=list)
    routed_experts: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.token_ids)

    def span_tokens(self, kind: str) -> int:
        """Number of tokens in all spans of this kind."""
        return sum(end - start for name, start, end in self.spans if name == kind)


def encode_segment(trace: TokenTrace) -> bytes:
    """Bytes of one segment; arrays are taken as they are, spans relative to the segment's own start."""
    import numpy as np

    n = len(trace.token_ids)
    ids = np.ascontiguousarray(trace.token_ids, dtype="<i4")
    logprobs = np.ascontiguousarray(trace.logprobs, dtype="<f4")
    mask = np.ascontiguousarray(trace.loss_mask, dtype=np.uint8)
    versions = np.asarray(trace.versions, dtype=np.int32)
    if not (len(logprobs) == len(mask) == len(versions) == n):
        raise ValueError(f"segment arrays differ in length: {n}, {len(logprobs)}, {len(mask)}, {len(versions)}")
    version_spans = np.asarray(_runs(versions), dtype="<i4").reshape(-1, 3)
    kind_spans = np.asarray([(KINDS.index(k), a, b) for k, a, b in trace.spans], dtype="<i4").reshape(-1, 3)
    layers = top_k = 0
    experts = b""
    if trace.routed_experts is not None:
        _, layers, top_k = trace.routed_experts.shape
        if trace.routed_experts.max(initial=0) >= MAX_EXPERTS:
            raise ValueError(f"a segment names experts 0 to {MAX_EXPERTS - 1}, not {trace.routed_experts.max()}")
        known = np.where(trace.routed_experts < 0, MAX_EXPERTS, trace.routed_experts)
        experts = _pad(known.astype(np.uint8).tobytes())
    arrays = (ids.tobytes(), logprobs.tobytes(), _pad(mask.tobytes()), version_spans.tobytes(), kind_spans.tobytes())
    body = b"".join((*arrays, experts))
    total = _HEADER.size + len(body)
    trainable = int(mask.sum())
    return _HEADER.pack(_MAGIC, total, n, len(version_spans), len(kind_spans), layers, top_k, trainable) + body


def _runs(versions: np.ndarray) -> list[tuple[int, int, int]]:
    """Runs of equal version as (start, end, version), those of `NO_VERSION` left out."""
    import numpy as np

    if len(versions) == 0:
        return []
    cuts = np.flatnonzero(np.diff(versions)) + 1
    edges = [0, *cuts.tolist(), len(versions)]
    spans = [(a, b, int(versions[a])) for a, b in itertools.pairwise(edges)]
    return [span for span in spans if span[2] != NO_VERSION]


def _pad(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


class SegmentSize(NamedTuple):
    """What a segment's header says, without opening it."""

    num_bytes: int
    num_tokens: int
    num_trainable: int


def segment_sizes(blob: bytes | memoryview) -> Iterator[SegmentSize]:
    """Walk the headers of a trace blob. Raises ValueError where the bytes are not segments, or a header lies."""
    at = 0
    while at < len(blob):
        if len(blob) - at < _HEADER.size:
            raise ValueError(f"trace blob ends inside a segment header at byte {at}")
        magic, total, n, num_versions, num_kinds, layers, top_k, trainable = _HEADER.unpack_from(blob, at)
        if magic != _MAGIC:
            raise ValueError(f"no segment begins at byte {at} of the trace blob")
        want = _segment_bytes(n, num_versions + num_kinds, n * layers * top_k)
        if want != total:
            raise ValueError(f"a segment of {n} tokens should have {want} bytes, its header says {total}")
        if trainable > n:
            raise ValueError(f"a segment of {n} tokens cannot have {trainable} to train on")
        if at + total > len(blob):
            raise ValueError(f"the segment at byte {at} says {total} bytes, the blob has {len(blob) - at} left")
        yield SegmentSize(total, n, trainable)
        at += total


def _segment_bytes(num_tokens: int, num_spans: int, expert_bytes: int) -> int:
    """What a segment of these counts takes, its header included."""
    mask_bytes = num_tokens + (-num_tokens % 4)
    return _HEADER.size + 8 * num_tokens + mask_bytes + 12 * num_spans + expert_bytes + (-expert_bytes % 4)


def decode_trace(blob: bytes | memoryview) -> TokenTrace:
    """Open a trace: its segments joined, spans shifted to the trace's own start. Raises ValueError on broken bytes."""
    import numpy as np

    parts = []
    at = 0
    for size in segment_sizes(blob):
        parts.append(_decode_segment(memoryview(blob)[at : at + size.num_bytes]))
        at += size.num_bytes
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return TokenTrace(np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros(0, np.bool_), np.zeros(0, np.int32))
    spans: list[tuple[str, int, int]] = []
    start = 0
    for part in parts:
        spans.extend((kind, a + start, b + start) for kind, a, b in part.spans)
        start += len(part)
    return TokenTrace(
        np.concatenate([part.token_ids for part in parts]),
        np.concatenate([part.logprobs for part in parts]),
        np.concatenate([part.loss_mask for part in parts]),
        np.concatenate([part.versions for part in parts]),
        spans,
        _joined_experts(parts),
    )


def _joined_experts(parts: list[TokenTrace]) -> np.ndarray | None:
    """Those of all segments, -1 for the tokens of one that tells none. Raises ValueError where shapes differ."""
    import numpy as np

    shapes = {part.routed_experts.shape[1:] for part in parts if part.routed_experts is not None}
    if not shapes:
        return None
    if len(shapes) > 1:
        raise ValueError(f"segments of one trace tell experts of different shapes: {sorted(shapes)}")
    [shape] = shapes
    told = [(len(part), part.routed_experts) for part in parts]
    return np.concatenate([np.full((n, *shape), -1, np.int16) if own is None else own for n, own in told])


def _decode_segment(data: memoryview) -> TokenTrace:
    import numpy as np

    _, _, n, num_versions, num_kinds, layers, top_k, _ = _HEADER.unpack_from(data, 0)
    experts_bytes = n * layers * top_k
    at = _HEADER.size
    ids = np.frombuffer(data, "<i4", n, at)
    at += 4 * n
    logprobs = np.frombuffer(data, "<f4", n, at)
    at += 4 * n
    mask = np.frombuffer(data, np.uint8, n, at).astype(np.bool_)
    at += n + (-n % 4)
    versions = np.full(n, NO_VERSION, np.int32)
    for a, b, version in np.frombuffer(data, "<i4", 3 * num_versions, at).reshape(-1, 3).tolist():
        versions[a:b] = version
    at += 12 * num_versions
    kinds = np.frombuffer(data, "<i4", 3 * num_kinds, at).reshape(-1, 3).tolist()
    at += 12 * num_kinds
    if any(not 0 <= kind < len(KINDS) for kind, _, _ in kinds):
        raise ValueError("a segment has a kind span of an unknown kind")
    experts = None
    if layers:
        experts = np.frombuffer(data, np.uint8, experts_bytes, at).reshape(n, layers, top_k).astype(np.int16)
        experts[experts == MAX_EXPERTS] = -1
    return TokenTrace(ids, logprobs, mask, versions, [(KINDS[kind], a, b) for kind, a, b in kinds], experts)


def pack_frame(head: bytes, blob: bytes | memoryview = b"") -> bytes:
    """One frame: JSON head and blob."""
    return b"".join((_FRAME.pack(len(head), len(blob)), head, blob))


def unpack_frame(data: bytes) -> tuple[bytes, memoryview]:
    """Head and blob of a message that is exactly one frame. Raises ValueError when lengths lie."""
    if len(data) < _FRAME.size:
        raise ValueError(f"a frame has at least {_FRAME.size} bytes, got {len(data)}")
    head, blob = _FRAME.unpack_from(data, 0)
    if _FRAME.size + head + blob != len(data):
        raise ValueError(f"the frame says {head} + {blob} bytes, the message has {len(data) - _FRAME.size}")
    return data[_FRAME.size : _FRAME.size + head], memoryview(data)[_FRAME.size + head :]


def unpack_frames(data: bytes, most: int) -> list[tuple[bytes, memoryview]]:
    """(head, blob) of a message of whole frames. Raises ValueError when lengths lie or there are more than `most`."""
    frames: list[tuple[bytes, memoryview]] = []
    view, at = memoryview(data), 0
    while at < len(data):
        if len(frames) == most:
            raise ValueError(f"there are more than {most} frames")
        if at + _FRAME.size > len(data):
            raise ValueError(f"{len(data) - at} bytes are left over")
        head, blob = _FRAME.unpack_from(data, at)
        begin, split, at = at + _FRAME.size, at + _FRAME.size + head, at + _FRAME.size + head + blob
        if at > len(data):
            raise ValueError(f"the last frame says {head} + {blob} bytes, {len(data) - begin} are left")
        frames.append((data[begin:split], view[split:at]))
    return frames


class FrameReader:
    """Cuts a byte stream into frames: feed chunks, take (head, blob) pairs."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, chunk: bytes) -> list[tuple[bytes, bytes]]:
        """The frames that are whole now. Raises ValueError for one over the limit."""
        buffer = self._buffer
        buffer += chunk
        frames, at = [], 0
        while len(buffer) - at >= _FRAME.size:
            head, blob = _FRAME.unpack_from(buffer, at)
            split = at + _FRAME.size + head
            end = split + blob
            if end - at > MAX_FRAME_BYTES:
                raise ValueError(f"a frame of {end - at} bytes is over the limit of {MAX_FRAME_BYTES}")
            if len(buffer) < end:
                break
            frames.append((bytes(buffer[at + _FRAME.size : split]), bytes(buffer[split:end])))
            at = end
        del buffer[:at]
        return frames

    def close(self) -> None:
        """Raises ValueError when the stream ended inside a frame."""
        if self._buffer:
            raise ValueError(f"the stream ended inside a frame ({len(self._buffer)} bytes left over)")
