"""What every step did, one JSON line each, written once the step is complete: the run can be read without its store."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from trainer.played import PlayedGroup


class Entry(msgspec.Struct, kw_only=True):
    """A finished step: the version it published, its groups' rollouts and rewards, its numbers."""

    step: int
    version: int
    metrics: dict[str, float]
    groups: dict[str, list[tuple[str, str, float | None]]] = {}

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

    def commit(self, step: int, version: int, groups: Sequence[PlayedGroup], metrics: Mapping[str, float]) -> None:
        """Durable once this returns."""
        played = {
            group.group_id: [
                (member.rollout.rollout_id, member.rollout.outcome.value, member.rollout.reward)
                for member in group.members
            ]
            for group in groups
        }
        line = msgspec.json.encode(Entry(step=step, version=version, metrics=dict(metrics), groups=played))
        with self.path.open("ab") as file:
            file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def entries(self) -> list[Entry]:
        """All steps in order; where a step was done twice (a resume from before it) the last one counts."""
        decoder = msgspec.json.Decoder(Entry)
        by_step = {entry.step: entry for entry in map(decoder.decode, self.path.read_bytes().splitlines())}
        return [by_step[step] for step in sorted(by_step)]
