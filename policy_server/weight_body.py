"""Weights as the body of a request, for a policy server on another machine: they are received, checked, then served.

    POST /weights/body    u32 head bytes | head: WeightsParams as JSON | the bytes of its layout, in pieces as they come

Nothing is exchanged before the last byte is here and every checksum agrees. The whole has to arrive within the caller's
deadline, and `RECEIVE_S` at most.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import torch
from aiohttp import web
from torch import Tensor

from gym_core.errors import BadRequest, SlowBody, TooLarge
from gym_core.serve import deadline_s, parse_json
from model.huge_pages import prefer_huge_pages
from model.weight_layout import places_of
from policy_server.engine import Engine
from policy_server.weights import Taken, WeightsParams, take_memory

HEAD = struct.Struct("<I")
_MAX_HEAD = 1 << 26
RECEIVE_S = 600.0


@asynccontextmanager
async def arriving(request: web.Request) -> AsyncIterator[None]:
    """What is read of the body inside has to be here in time. Raises `SlowBody`."""
    limit_s = deadline_s(request, RECEIVE_S)
    try:
        async with asyncio.timeout(limit_s):
            yield
    except TimeoutError:
        raise SlowBody(f"the weights did not arrive within {limit_s:g} s", hint="raise policy.publish_s") from None


async def receive(engine: Engine, request: web.Request) -> Taken:
    """Take weights from a request's body.

    Raises `BadRequest`, `SlowBody`, `TooLarge`, `Conflict`, `DeadlineExceeded`.
    """
    async with arriving(request):
        params = await read_head(request)
        require_fit(params, places_of(engine.model)[1])
        with torch.inference_mode(False):
            memory = torch.empty(params.nbytes, dtype=torch.uint8)
        prefer_huge_pages([memory])
        await fill(request, memory)
    return await take_memory(engine, params, memory)


async def read_head(request: web.Request) -> WeightsParams:
    """What a body says before its bytes begin. Raises `BadRequest`."""
    try:
        (head_bytes,) = HEAD.unpack(await request.content.readexactly(HEAD.size))
        if head_bytes > _MAX_HEAD:
            raise BadRequest(f"a head of {head_bytes} bytes is over the limit of {_MAX_HEAD}", field="body")
        params: WeightsParams = parse_json(await request.content.readexactly(head_bytes), WeightsParams)
    except asyncio.IncompleteReadError:
        raise BadRequest("the body ends inside its head", field="body") from None
    if params.path or params.memory is not None:
        raise BadRequest("a body is the weights itself", field="path", hint="leave `path` and `memory` out")
    if not params.checksums:
        raise BadRequest("what comes over a network needs checksums", field="checksums")
    return params


def require_fit(params: WeightsParams, needed: int) -> None:
    """Raises `TooLarge` for more bytes than a model of `needed` can be published in."""
    if params.nbytes > 2 * needed:  # a layout of another dtype may be twice as large
        raise TooLarge(f"{params.nbytes} bytes of weights for a model of {needed}", field="nbytes")


async def fill(request: web.Request, memory: Tensor) -> None:
    """The rest of a body into memory u8[n]. Raises `BadRequest` unless it is that long."""
    target, at, nbytes = memory.numpy(), 0, len(memory)
    while piece := await request.content.readany():
        if at + len(piece) > nbytes:
            raise BadRequest(f"the body is longer than the {nbytes} bytes it announced", field="body")
        target[at : at + len(piece)] = np.frombuffer(piece, np.uint8)
        at += len(piece)
    if at != nbytes:
        raise BadRequest(f"the body ends after {at} of {nbytes} bytes", field="body")
