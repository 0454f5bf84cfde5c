"""The bytes of weights as the body of a request: u32 head bytes (little-endian) | head | the bytes, in pieces."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from torch import Tensor

from model.checkpoint_pieces import byte_view

PIECE_BYTES = 1 << 20


def body_of(head: bytes, memory: Tensor) -> Callable[[], AsyncIterator[bytes]]:
    """A function that begins the body of memory u8[n] anew, for every attempt."""

    async def pieces() -> AsyncIterator[bytes]:
        yield len(head).to_bytes(4, "little") + head
        view = byte_view(memory)
        for at in range(0, len(view), PIECE_BYTES):
            yield bytes(view[at : at + PIECE_BYTES])

    return pieces
