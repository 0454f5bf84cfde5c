"""Bodies of requests to the environment service and the agent server."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from gym_core.host import MAX_TASKS


class TasksRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Which generated tasks: `count` of this level, with different prompts, from index `start` on."""

    seed: int = 0
    level: int = 0
    count: Annotated[int, msgspec.Meta(ge=1, le=MAX_TASKS)] = 1
    split: str = "train"
    start: Annotated[int, msgspec.Meta(ge=0)] = 0


class IngestRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Rows from outside, in order."""

    rows: Annotated[list[Any], msgspec.Meta(max_length=10_000)]


class TurnOutput(msgspec.Struct, kw_only=True):
    """The policy's Responses items of one turn."""

    output: list[dict[str, Any]]


class UserTurnRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What the policy said to the user: its items, or just its words."""

    response: TurnOutput | None = None
    reply: str | None = None


class GroupVerdictRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Whose verdict, and how long the server may hold the request."""

    group_id: str
    rollout_id: str
    wait_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0


class AggregateRequest(msgspec.Struct, kw_only=True):
    """Scored rollouts, bodies of their responses left out."""

    verify_responses: list[dict[str, Any]]


class CancelRequest(msgspec.Struct):
    """Rollouts to take back: those of a run, those of these ids, or both."""

    run_id: str | None = None
    rollout_ids: list[str] = []
