"""What the quality gate found: one result for each rule, and the figures that were measured on the way."""

from __future__ import annotations

from typing import Literal

import msgspec

Status = Literal["pass", "fail", "skip"]


class RuleResult(msgspec.Struct, kw_only=True, frozen=True):
    """One rule over one environment. `found` says what was seen (why it was skipped), `fix` the way out of a failure,
    `notes` what is worth a look although it passes."""

    id: str
    about: str
    status: Status
    found: str = ""
    fix: str = ""
    notes: list[str] = []
    seconds: float = 0.0


class Figures(msgspec.Struct, kw_only=True):
    """Measured over HTTP, None where it could not be. Rewards are means over generated tasks of all levels.

    `best_constant` is the reply that earned most of all those that ignore the task; `startup_s` is wall time until the
    service answered, `memory_mb` its resident memory with its workers.
    """

    oracle: float | None = None
    idle: float | None = None
    random: float | None = None
    echo: float | None = None
    constant: float | None = None
    best_constant: str | None = None
    shuffled: float | None = None
    near_miss: float | None = None
    ms_per_verify: float | None = None
    tasks_per_s: float | None = None
    startup_s: float | None = None
    memory_mb: float | None = None


class Report(msgspec.Struct, kw_only=True):
    """The gate's report on one environment; `status` is `fail` where any rule failed."""

    name: str
    version: str
    status: Status
    quick: bool
    floors: dict[str, float] = {}
    rules: list[RuleResult]
    figures: Figures
    seconds: float

    def failures(self) -> list[RuleResult]:
        return [result for result in self.rules if result.status == "fail"]

    def of(self, rule: str) -> RuleResult:
        """The result of one rule. Raises KeyError."""
        for result in self.rules:
            if result.id == rule:
                return result
        raise KeyError(rule)
