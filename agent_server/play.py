"""A rollout under way: the one record that its stages write to."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from agent_server.breaker import Breaker
from agent_server.directory import EnvironmentPeer
from agent_server.metrics import AgentMetrics
from agent_server.traces import TraceBook
from gym_core import tracing
from gym_core.contracts import Rollout, RunOptions, Task, Usage


@dataclass(slots=True)
class Play:
    """A rollout under way. `stage` is where it is now, and so where it fails if it fails.

    `closed`: the environment ended the session with its verdict. `breaker` is the environment's once it let this
    rollout in, as its `probe` or not. `environment_well`: whether the environment did its part; None where nothing is
    known of that.
    """

    task: Task
    row: dict[str, Any]
    options: RunOptions
    rollout: Rollout
    peer: EnvironmentPeer | None = None
    session_id: str = ""
    closed: bool = False
    stage: str = "seed"
    book: TraceBook = field(default_factory=TraceBook)
    usage: Usage = field(default_factory=Usage)
    truncated: bool = False
    blob: bytes = b""
    breaker: Breaker | None = None
    probe: bool = False
    environment_well: bool | None = None
    metrics: AgentMetrics | None = None


class Timed:
    """Adds the time of a stage to the rollout's timings and to the counts, whether or not it succeeds; it is a span."""

    __slots__ = ("_began", "_name", "_play", "_span")

    def __init__(self, play: Play, name: str) -> None:
        self._play = play
        self._name = name
        self._span = tracing.span(name)

    def __enter__(self) -> None:
        self._span.__enter__()
        self._began = time.perf_counter()

    def __exit__(self, *error: Any) -> None:
        spent = time.perf_counter() - self._began
        timings = self._play.rollout.timings_ms
        timings[self._name] = round(timings.get(self._name, 0.0) + 1000 * spent, 3)
        if self._play.metrics is not None:
            self._play.metrics.spent(self._play.rollout.environment, self._name, spent)
        self._span.__exit__(*error)
