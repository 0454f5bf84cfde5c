"""A token blob, compressed: what is alike is put together, then zstd (zlib where that library is absent).

    packed   "PTP1" | codec u8 | layout u8 | 0 u16 | raw bytes u32 | raw crc32 u32 | compressed body
    plain    body = the blob
    columns  body = u32 bytes of rest | rest | token ids | logprobs        (all little-endian)

`rest` is every segment without its two wide columns, end to end; these are written byte by byte of their numbers (all
lowest bytes, then all second ones, …), because the high bytes of token ids and of log-probabilities repeat. A blob that
is not made of segments is packed plain. What comes out is what went in, byte for byte, or a `StoreFault`.
"""

from __future__ import annotations

import struct
import zlib
from itertools import accumulate
from typing import Any

from gym_core.store.fault import StoreFault
from gym_core.tokens import HEADER_BYTES, segment_sizes

PACKED = ".packed"
_HEAD = struct.Struct("<4sBBHII")
_MAGIC = b"PTP1"
_STORED, _ZLIB, _ZSTD = range(3)
_PLAIN, _COLUMNS = range(2)
_LEVEL = {_ZLIB: 6, _ZSTD: 9}


def pack(blob: bytes) -> bytes:
    """The packed form of a blob."""
    layout, body = _COLUMNS, _columns(blob)
    if body is None:
        layout, body = _PLAIN, blob
    zstd = _zstandard()
    codec = _ZLIB if zstd is None else _ZSTD
    small = zlib.compress(body, _LEVEL[codec]) if zstd is None else zstd.compress(body, _LEVEL[codec])
    if len(small) >= len(blob):
        codec, layout, small = _STORED, _PLAIN, blob
    return _HEAD.pack(_MAGIC, codec, layout, 0, len(blob), zlib.crc32(blob)) + small


def unpack(data: bytes) -> bytes:
    """The blob again. Raises `StoreFault` for bytes that are no packed blob, or were packed with a library that is
    missing here."""
    if len(data) < _HEAD.size or data[:4] != _MAGIC:
        raise StoreFault("that is no packed blob", stage="store")
    _, codec, layout, _, size, crc32 = _HEAD.unpack_from(data)
    try:
        body = _decompressed(codec, data[_HEAD.size :], size)
        blob = _joined(body) if layout == _COLUMNS else body
    except (ValueError, struct.error, zlib.error) as error:
        raise StoreFault(f"the packed blob cannot be opened: {error}", stage="store") from None
    if len(blob) != size or zlib.crc32(blob) != crc32:
        raise StoreFault("the packed blob does not hold what was packed", stage="store")
    return blob


def codec_name() -> str:
    """What `pack` compresses with here."""
    return "zlib" if _zstandard() is None else "zstd"


def _decompressed(codec: int, data: bytes, size: int) -> bytes:
    if codec == _STORED:
        return data
    limit = size + 4  # the columns have one length in front
    if codec == _ZLIB:
        return zlib.decompressobj().decompress(data, limit)
    zstd = _zstandard()
    if zstd is None:
        raise StoreFault(
            "the blob was packed with zstd, which is not installed", stage="store", hint="pip install palaestra[zstd]"
        )
    try:
        opened: bytes = zstd.decompress(data, max_output_size=limit)
    except zstd.ZstdError as error:
        raise ValueError(str(error)) from None
    return opened


def _zstandard() -> Any:
    try:
        import zstandard
    except ModuleNotFoundError:
        return None
    return zstandard


def _columns(blob: bytes) -> bytes | None:
    """The body of layout `columns`; None for a blob that is not segments end to end."""
    try:
        sizes = list(segment_sizes(blob))
    except ValueError:
        return None
    rest, ids, logprobs = [], [], []
    starts = accumulate((size.num_bytes for size in sizes), initial=0)
    for start, size in zip(starts, sizes, strict=False):
        first = start + HEADER_BYTES
        second, third = first + 4 * size.num_tokens, first + 8 * size.num_tokens
        rest += [blob[start:first], blob[third : start + size.num_bytes]]
        ids.append(blob[first:second])
        logprobs.append(blob[second:third])
    kept = b"".join(rest)
    return b"".join((struct.pack("<I", len(kept)), kept, _planes(b"".join(ids)), _planes(b"".join(logprobs))))


def _joined(body: bytes) -> bytes:
    """Undoes `_columns`: the headers in `rest` say how long each segment is."""
    (length,) = struct.unpack_from("<I", body)
    rest, wide = body[4 : 4 + length], body[4 + length :]
    half = len(wide) // 2
    ids, logprobs = _numbers(wide[:half]), _numbers(wide[half:])
    parts, at, token = [], 0, 0
    while at < length:
        total, tokens = struct.unpack_from("<II", rest, at + 4)
        end, last = at + total - 8 * tokens, token + tokens
        if end <= at:
            raise ValueError(f"a segment of {total} bytes cannot hold {tokens} tokens")
        parts += [rest[at : at + HEADER_BYTES], ids[4 * token : 4 * last], logprobs[4 * token : 4 * last]]
        parts.append(rest[at + HEADER_BYTES : end])
        at, token = end, last
    return b"".join(parts)


def _planes(numbers: bytes) -> bytes:
    return b"".join(numbers[byte::4] for byte in range(4))


def _numbers(planes: bytes) -> bytes:
    count = len(planes) // 4
    numbers = bytearray(4 * count)
    for byte in range(4):
        numbers[byte::4] = planes[byte * count : (byte + 1) * count]
    return bytes(numbers)
