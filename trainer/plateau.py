"""When a run stops getting better: the best validated step so far, and how long ago it was.

A value is better than the best by more than `margin`, or it counts towards `patience`; after that many in a row the
pools are due to be profiled again, with the best checkpoint (arXiv 2512.20848, §3.2.2), and the count starts anew.
Its state is part of every checkpoint, so a run that is killed while it profiles does so when it is resumed.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec


class Plateau(msgspec.Struct, kw_only=True):
    """`best_step`: the step to do next where `best` was measured, None before any. `since`: validations since then."""

    best: float | None = None
    best_step: int | None = None
    since: int = 0
    due: bool = False

    def see(self, step: int, value: float, *, patience: int, margin: float) -> bool:
        """Take a validation in; True where it is the best. `patience` 0 never becomes due."""
        if math.isnan(value):
            return False
        if self.best is None or value > self.best + margin:
            self.best, self.best_step, self.since = value, step, 0
            return True
        self.since += 1
        if patience and self.since >= patience:
            self.since, self.due = 0, True
        return False

    def state_dict(self) -> dict[str, Any]:
        return msgspec.structs.asdict(self)
