"""A rollout under way: the one record that its stages write to."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from agent_server.directory import EnvironmentPeer
from agent_server.traces import TraceBook
from gym_core.contracts import Rollout, RunOptions, Task, Usage


@dataclass(slots=True)
class Play:
    """A rollout under way. `stage` is where it is now, and so where it fails if it fails."""

    task: Task
    row: dict[str, Any]
    options: RunOptions
    rollout: Rollout
    peer: EnvironmentPeer | None = None
    session_id: str = ""
    stage: str = "seed"
    book: TraceBook = field(default_factory=TraceBook)
    usage: Usage = field(default_factory=Usage)
    truncated: bool = False
    blob: bytes = b""


class Timed:
    """Adds the time of a stage to the rollout's timings, whether or not it succeeds."""

    __slots__ = ("_began", "_name", "_timings")

    def __init__(self, play: Play, name: str) -> None:
        self._timings = play.rollout.timings_ms
        self._name = name

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        spent = 1000 * (time.perf_counter() - self._began)
        self._timings[self._name] = round(self._timings.get(self._name, 0.0) + spent, 3)
