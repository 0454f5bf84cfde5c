"""What a run tells while it goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

STAGES = ("draw", "collect", "shape", "train", "commit", "publish", "validate", "write", "checkpoint")
"""What a step goes through, in order; the last one where a checkpoint is due, `validate` where the recipe says so."""


@dataclass(slots=True, frozen=True)
class Event:
    """Something the live view may show: `start`, `resume`, `profile`, `rollouts`, `step`, `checkpoint`, `failed`,
    `unvalidated`, `unprofiled`, and `stage` when one of `STAGES` begins."""

    kind: str
    step: int
    values: Mapping[str, float] = field(default_factory=dict)
    text: str = ""


OnEvent = Callable[[Event], None]
