"""The token plane of `/v1/responses`: one frame in, one frame out, tokens never as JSON.

head {"request": create parameters, "num_previous_items": k}, blob = the trace so far (covers input[:k])
─▶ head {"response", "began", "policy_version_min", "policy_version_max", "finish_reason"}, blob = the new segment
"""

from __future__ import annotations

import msgspec
import numpy as np

from gym_core.errors import BadRequest
from gym_core.serve import parse_json
from gym_core.tokens import decode_trace, encode_segment, pack_frame, unpack_frame
from policy_server.answers import Turn, segment_of
from policy_server.config import PolicyConfig
from policy_server.prompts import Conversation
from policy_server.responses import ResponsesParams, conversation_of, response_object


class TurnHead(msgspec.Struct, kw_only=True):
    """Head of a request frame."""

    request: ResponsesParams
    num_previous_items: int = 0


def read_turn(body: bytes, config: PolicyConfig) -> tuple[ResponsesParams, Conversation]:
    """Open a request frame. Raises `BadRequest` naming the part of it that is wrong."""
    try:
        head, blob = unpack_frame(body)
    except ValueError as error:
        raise BadRequest(str(error), field="frame") from None
    turn: TurnHead = parse_json(head, TurnHead)
    try:
        known = decode_trace(blob).token_ids.astype(np.int64) if len(blob) else np.zeros(0, np.int64)
    except ValueError as error:
        raise BadRequest(str(error), field="blob") from None
    num_items = len(turn.request.input) if isinstance(turn.request.input, list) else 0
    if not 0 <= turn.num_previous_items <= num_items or bool(turn.num_previous_items) != bool(len(known)):
        raise BadRequest(
            f"num_previous_items is {turn.num_previous_items}, with {num_items} items in `input` "
            f"and a trace of {len(known)} tokens",
            field="num_previous_items",
            hint="it says how many items of `input` the trace covers: 0 with an empty trace",
        )
    return turn.request, conversation_of(turn.request, config, known, turn.num_previous_items)


def write_turn(turn: Turn, params: ResponsesParams, model: str) -> bytes:
    """The reply frame."""
    answer = turn.answers[0]
    versions = answer.sample.versions
    head = {
        "response": response_object(turn, params, model),
        "began": turn.prompt.began,
        "policy_version_min": int(versions.min()) if len(versions) else -1,
        "policy_version_max": int(versions.max()) if len(versions) else -1,
        "finish_reason": answer.finish_reason,
    }
    return pack_frame(msgspec.json.encode(head), encode_segment(segment_of(turn.prompt, answer)))
