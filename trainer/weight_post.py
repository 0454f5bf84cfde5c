"""Weights from the process that holds them straight to a policy server on whatever machine, as a request's body."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
from torch import Tensor

from gym_core import auth
from gym_core.client import Client
from model.weight_stream import body_of


def post_weights(url: str, head: dict[str, Any], memory: Tensor, timeout_s: float) -> None:
    """POST memory u8[n] to `url`/weights/body with the token that this process has; returns once it is served.

    head: as `policy_server.weights.WeightsParams`. Call it from a thread without an event loop. Raises what the server
    answers, and as `Client.post`.
    """
    asyncio.run(_post(url, body(head, memory), timeout_s))


def body(head: dict[str, Any], memory: Tensor) -> Callable[[], AsyncIterator[bytes]]:
    """What travels."""
    return body_of(msgspec.json.encode(head), memory)


async def _post(url: str, pieces: Callable[[], AsyncIterator[bytes]], timeout_s: float) -> None:
    async with Client(url, token=auth.own_token()) as client:
        await client.post("/weights/body", pieces, timeout_s=timeout_s)
