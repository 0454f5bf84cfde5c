"""Rollouts as the trainer holds them: the record with its traces opened, and groups of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from gym_core.contracts import Rollout
from gym_core.tokens import TokenTrace, decode_trace


@dataclass(slots=True)
class Played:
    """A rollout with its traces opened. `recalled`: it was played before this process began."""

    rollout: Rollout
    traces: list[TokenTrace]
    recalled: bool = False


@dataclass(slots=True)
class PlayedGroup:
    """The members of one group that came back, ordered by repeat, whatever their outcome."""

    group_id: str
    task_id: str
    environment: str
    members: list[Played] = field(default_factory=list)


def open_frame(head: bytes, blob: bytes, recalled: bool = False) -> Played:
    """Head and blob of one frame as a played rollout. Raises ValueError on broken bytes."""
    rollout = msgspec.json.decode(head, type=Rollout)
    view = memoryview(blob)
    traces = [decode_trace(view[info.offset : info.offset + info.num_bytes]) for info in rollout.traces]
    return Played(rollout, traces, recalled)
