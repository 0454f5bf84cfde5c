"""What the store keeps beside rollouts and profiles, and what it tells of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from gym_core.contracts import Rollout


class Run(msgspec.Struct, kw_only=True):
    """One training, evaluation or collection. Times are seconds since the epoch; `recipe` and `summary` plain data."""

    run_id: str
    kind: str = "train"
    recipe: dict[str, Any] = {}
    seed: int = 0
    arm: str = ""
    status: str = "running"
    created_at: float = 0.0
    finished_at: float | None = None
    summary: dict[str, Any] = {}


class Stored(NamedTuple):
    """A rollout as it is kept: its token blob, and the task row it was played from, None where it came without."""

    rollout: Rollout
    blob: bytes
    row: dict[str, Any] | None


class Played(NamedTuple):
    """How much of a run is stored, and when its first and last rollouts began (seconds since the epoch)."""

    run_id: str
    rollouts: int
    first_at: float
    last_at: float


class Total(NamedTuple):
    """Rollouts of one environment and outcome; `reward_sum` is over the `rewarded` ones that have a reward."""

    environment: str
    outcome: str
    rollouts: int
    rewarded: int
    reward_sum: float
