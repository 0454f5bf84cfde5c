"""What the store keeps beside rollouts and profiles: the run that they belong to."""

from __future__ import annotations

from typing import Any

import msgspec


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
