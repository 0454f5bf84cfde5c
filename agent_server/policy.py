"""The policy server as the agent sees it: one turn in, text and an unopened segment of tokens out."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import msgspec

from gym_core import headers as names
from gym_core.client import Client
from gym_core.errors import PolicyFault
from gym_core.tokens import FRAME_TYPE, pack_frame, segment_sizes, unpack_frame

_HEADERS = {"Content-Type": FRAME_TYPE, "Accept": FRAME_TYPE}


_Count = Annotated[int, msgspec.Meta(ge=0)]


class _Usage(msgspec.Struct):
    input_tokens: _Count = 0
    output_tokens: _Count = 0


class _Response(msgspec.Struct):
    output: list[dict[str, Any]]
    usage: _Usage | None = None


class _TurnHead(msgspec.Struct):
    response: _Response
    began: str = ""
    finish_reason: str = "stop"
    policy_version_min: int = -1
    policy_version_max: int = -1


class Turn(NamedTuple):
    """What the policy answered: Responses output items, the segment's bytes, and how the turn ended."""

    output: list[dict[str, Any]]
    input_tokens: int
    output_tokens: int
    segment: bytes
    began: str
    finish_reason: str
    version_min: int
    version_max: int


class Policy:
    """Client of `/v1/responses` on the token plane."""

    def __init__(self, client: Client, model: str) -> None:
        self._client = client
        self._named = {"model": model} if model else {}

    async def turn(
        self, request: dict[str, Any], num_previous_items: int, trace: bytes, timeout_s: float, idempotency_key: str
    ) -> Turn:
        """Play one turn. Raises `PolicyFault` for an answer that is none, and what the client raises for silence."""
        head = {"request": {**self._named, **request}, "num_previous_items": num_previous_items}
        reply = await self._client.post(
            "/v1/responses",
            pack_frame(msgspec.json.encode(head), trace),
            headers={**_HEADERS, names.IDEMPOTENCY: idempotency_key},
            timeout_s=timeout_s,
        )
        try:
            head_bytes, segment = unpack_frame(reply.body)
            said = msgspec.json.decode(head_bytes, type=_TurnHead)
            num_segments = sum(1 for _ in segment_sizes(segment))
            _check_calls(said.response.output)
        except (ValueError, msgspec.MsgspecError, RecursionError) as error:
            raise PolicyFault(f"the policy's answer cannot be read: {error}") from error
        if num_segments > 1:
            raise PolicyFault(f"a turn has one segment of tokens, the policy sent {num_segments}")
        usage = said.response.usage or _Usage()
        return Turn(
            said.response.output,
            usage.input_tokens,
            usage.output_tokens,
            bytes(segment),
            said.began,
            said.finish_reason,
            said.policy_version_min,
            said.policy_version_max,
        )

    async def close(self) -> None:
        await self._client.close()


def _check_calls(output: list[dict[str, Any]]) -> None:
    """Raises ValueError for a tool call that names no tool or has no text of arguments."""
    for item in output:
        if item.get("type") == "function_call":
            for name in ("name", "arguments"):
                if not isinstance(item.get(name), str):
                    raise ValueError(f"the `{name}` of a function call must be text, not {item.get(name)!r:.80}")
