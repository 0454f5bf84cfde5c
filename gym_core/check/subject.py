"""The environment under check, as the rules see it: its folder, its tasks with their secrets, its running service."""

from __future__ import annotations

import statistics
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from gym_core.check.children import Den, ServiceChild
from gym_core.check.report import Figures
from gym_core.check.rule import Failed, Skipped
from gym_core.check.seen import ProbeRequest, Seen, SeenTask
from gym_core.check.wire import Items, Played, Wire
from gym_core.client import Client
from gym_core.environment import Script
from gym_core.errors import DeadlineExceeded, JudgeFault, Unavailable
from gym_core.manifest import FILE_NAME, Manifest

NEEDS_JUDGE = "its verdicts need a judge; the rule `judge` hears the recorded one"
HASH_SEEDS = (1, 4242)
"""Of the two processes whose tasks must agree; the service has a third."""


class CheckOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How thorough the gate is, and its budgets.

    `train` and `heldout` tasks are made of each level, `per_level` of them meet the panels, `fuzz_tasks` of all levels
    the hostile replies. Where grading is slow a panel meets fewer tasks, so that it takes about `panel_s`. `answer_s`
    is what one answer may take to grade, `tasks_s` the making of all tasks; `memory_mb` bounds the service as it
    starts, `total_memory_mb` with its workers at the end.
    """

    quick: bool = False
    seed: int = 20
    train: int = 32
    heldout: int = 8
    per_level: int = 8
    fuzz_tasks: int = 4
    sessions: int = 8
    answer_s: float = 5.0
    panel_s: float = 20.0
    tasks_s: float = 300.0
    startup_s: float = 20.0
    startup_cpu_s: float = 4.0
    memory_mb: float = 256.0
    total_memory_mb: float = 2048.0


QUICK = CheckOptions(quick=True, train=6, heldout=3, per_level=3, fuzz_tasks=1, sessions=3, tasks_s=60.0, panel_s=1.0)


@dataclass
class Subject:
    """What a rule may look at and play with."""

    manifest: Manifest
    place: Path
    options: CheckOptions
    seen: Seen
    den: Den
    service: ServiceChild
    wire: Wire
    figures: Figures = field(default_factory=Figures)
    played: int = 0
    played_s: float = 0.0

    @property
    def bare(self) -> bool:
        """A Python file without a folder of its own."""
        return self.place.name != FILE_NAME

    @property
    def folder(self) -> Path:
        return self.place.parent

    @property
    def low(self) -> float:
        return self.seen.reward_range[0]

    @property
    def high(self) -> float:
        return self.seen.reward_range[1]

    def floor(self, panel: str) -> float:
        """The mean reward that this panel may earn: what the manifest declares, else the minimum."""
        declared = self.manifest.floors.get(panel, self.manifest.floor)
        return self.low if declared is None else declared

    def tasks(self, split: str = "train", per_level: int | None = None) -> list[SeenTask]:
        """Tasks of all levels, at most so many of each; rows from outside are of every split. Raises `Skipped`."""
        wanted = self.options.per_level if per_level is None else per_level
        taken: dict[int, int] = {}
        found = []
        for task in self.seen.tasks:
            if task.split in (split, "") and taken.get(task.level, 0) < wanted:
                taken[task.level] = taken.get(task.level, 0) + 1
                found.append(task)
        if not found:
            raise Skipped("there are no tasks to ask it about")
        return found

    def solved(self, split: str = "train", per_level: int | None = None) -> list[SeenTask]:
        """Those tasks that the oracle has a script for. Raises `Skipped` where there are none."""
        found = [task for task in self.tasks(split, per_level) if "oracle" in self.seen.has and not task.oracle_error]
        if not found:
            raise Skipped("there is no oracle to compare with")
        return found

    async def play(self, task: SeenTask, script: str | Script, items: Items | None = None, **options: Any) -> Played:
        """A rollout over HTTP. A service that hangs or dies is started anew, for the rules that come after.

        Raises `Failed` where there is no verdict, `Skipped` where only a judge could give it."""
        beside: str | Script = "" if script == task.script else task.script
        began = time.perf_counter()
        try:
            played = await self.wire.play(task.row, script, items=items, beside=beside, options=options or None)
        except JudgeFault as fault:
            if self.seen.needs_judge:
                raise Skipped(NEEDS_JUDGE) from None
            raise Failed(f"the judge failed: {fault}") from None
        except (DeadlineExceeded, Unavailable) as error:
            if self.seen.unavailable:
                raise Skipped(self.seen.unavailable) from None
            await self.restart()
            raise Failed(f"no verdict within {self.wire.client.timeout_s:g} s: {error}") from None
        self.played += 1
        self.played_s += time.perf_counter() - began
        return played

    def affordable(self, tasks: list[SeenTask], plays: int) -> list[SeenTask]:
        """As many of these tasks, evenly spread, as can be played `plays` times in `panel_s`; three at least."""
        pace_s = self.played_s / self.played if self.played else 0.0
        count = max(3, int(self.options.panel_s / (plays * pace_s))) if pace_s else len(tasks)
        return spread(tasks, count)

    async def mean(self, tasks: Sequence[SeenTask], scripts: Iterable[str | Script]) -> float:
        """The mean reward of one script for each task."""
        pairs = zip(tasks, scripts, strict=True)
        return statistics.fmean([(await self.play(task, script)).reward for task, script in pairs])

    async def restart(self) -> None:
        """A fresh service in place of one that does not answer."""
        await self.service.stop()
        await self.wire.client.close()
        self.service = await self.den.serve(str(self.place), self.manifest.name, self.options.startup_s)
        self.wire.client = client_of(self.service, self.options, self.seen)


def spread(tasks: list[SeenTask], count: int) -> list[SeenTask]:
    """So many of the tasks, from the first to the last at even distances."""
    if count >= len(tasks):
        return tasks
    return [tasks[number * (len(tasks) - 1) // max(1, count - 1)] for number in range(count)]


@asynccontextmanager
async def opened(manifest: Manifest, place: Path, options: CheckOptions, rows: list[Any]) -> AsyncIterator[Subject]:
    """Probe and serve an environment. Raises `ChildFault` where it cannot be loaded at all."""
    with Den(place.resolve(), block_network=manifest.network == "none") as den:
        request = ProbeRequest(
            place=str(place.resolve()), name=manifest.name, seed=options.seed, train=options.train,
            heldout=options.heldout, rows=rows,
        )  # fmt: skip
        seen = await den.probe(request, HASH_SEEDS[0], options.tasks_s)
        service = await den.serve(str(place.resolve()), manifest.name, options.startup_s)
        subject = Subject(
            manifest=manifest,
            place=place.resolve(),
            options=options,
            seen=seen,
            den=den,
            service=service,
            wire=Wire(
                client_of(service, options, seen),
                keeps_sessions=seen.keeps_sessions,
                judges_groups="verify_group" in seen.has,
            ),
        )
        try:
            yield subject
        finally:
            await subject.wire.client.close()
            await subject.service.stop()


def client_of(service: ServiceChild, options: CheckOptions, seen: Seen) -> Client:
    """A client that waits for a verdict as long as the environment may take for one, and never repeats."""
    limit_s = max(options.answer_s, seen.verify_timeout_s + 2.0 if seen.worker else 0.0)
    return Client(service.url, timeout_s=limit_s, retries=0)
