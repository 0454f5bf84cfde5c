"""What every step did, one JSON line each, written once the step is trained: the run can be read without its store.

    draw ─▶ tasks    collect ─▶ rollouts, rewards    versions    seed    curriculum after it (digest)    numbers

Seeds of the rollouts follow from the run's seed and their ids (`gym_core/seeds.py`), so these two are enough.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import msgspec

from gym_core.errors import BadRequest, PalaestraError
from trainer.disk import space_for
from trainer.played import PlayedGroup

STAGE = "journal"


class Diverged(PalaestraError):
    """A step that is done again does not begin as the journal says it did."""

    code: ClassVar[str] = "diverged"


class Entry(msgspec.Struct, kw_only=True):
    """A finished step: its numbers and the version they made; its groups' rollouts with outcome and reward; what was
    drawn, with which seed, and a digest of what the curriculum had learnt after it."""

    step: int
    version: int
    metrics: dict[str, float]
    groups: dict[str, list[tuple[str, str, float | None]]] = {}
    seed: int | None = None
    tasks: list[tuple[str, str]] = []
    curriculum: str = ""

    @property
    def rollout_ids(self) -> frozenset[str]:
        return frozenset(name for members in self.groups.values() for name, _, _ in members)


class Journal:
    """Append-only. A torn last line (the process was killed while writing) is cut off when opened.

    `is_new`: this run was never begun before.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_new = not path.exists()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.truncate(path, whole)

    def commit(
        self,
        step: int,
        version: int,
        groups: Sequence[PlayedGroup],
        metrics: Mapping[str, float],
        *,
        seed: int | None = None,
        tasks: Sequence[tuple[str, str]] = (),
        curriculum: str = "",
    ) -> None:
        """Durable once this returns; `curriculum` is the digest of its state.

        Raises DiskFull where there is no room; the journal is then as it was.
        """
        played = {
            group.group_id: [
                (member.rollout.rollout_id, member.rollout.outcome.value, member.rollout.reward)
                for member in group.members
            ]
            for group in groups
        }
        entry = Entry(
            step=step,
            version=version,
            metrics=dict(metrics),
            groups=played,
            seed=seed,
            tasks=list(tasks),
            curriculum=curriculum,
        )
        with space_for(self.path, STAGE):
            _append(self.path, msgspec.json.encode(entry) + b"\n")

    def entries(self) -> list[Entry]:
        """All steps in order; where a step was done twice (a resume from before it) the last one counts.

        Raises BadRequest naming the line that is none of ours.
        """
        decoder = msgspec.json.Decoder(Entry)
        by_step = {}
        for number, line in enumerate(self.path.read_bytes().splitlines(), 1):
            try:
                entry = decoder.decode(line)
            except msgspec.DecodeError as error:
                raise BadRequest(f"{self.path}, line {number}, is no step: {error}", field="resume") from None
            by_step[entry.step] = entry
        return [by_step[step] for step in sorted(by_step)]


def check_draw(entry: Entry, seed: int, tasks: Sequence[tuple[str, str]]) -> None:
    """Raises Diverged when a step that is done again has another seed or other tasks than its journal entry."""
    if entry.seed in (None, seed) and (not entry.tasks or entry.tasks == list(tasks)):
        return
    other = next((pair for pair in zip(entry.tasks, tasks, strict=False) if pair[0] != pair[1]), None)
    what = f"the first other task is {'/'.join(other[1])}, not {'/'.join(other[0])}" if other else "its seed is another"
    raise Diverged(
        f"step {entry.step} is not drawn as the journal says: {what}",
        stage="draw",
        server="trainer",
        hint="the environments or their data have changed since; resume with what the run was started with",
    )


def _append(path: Path, line: bytes) -> None:
    """Write a line to the disk, or leave the file as it was."""
    before = path.stat().st_size
    with path.open("ab", buffering=0) as file:
        try:
            if file.write(line) < len(line):
                file.write(line[file.tell() - before :])  # a full disk takes a part, then says why
            os.fsync(file.fileno())
        except OSError:
            os.truncate(path, before)
            raise
