"""Checkpoints that are whole or absent: written beside their place, synced, renamed to a name that was never used.

checkpoints/step-000010/model/        released names and config, loads anywhere
                        learner.pt    optimizer, generator, version
                        state.json    step, curriculum, recipe, held-out reward
            latest, best              links to two of them, swapped in one rename

A step that is saved again gets another folder (`step-000010~1`) before the older one goes, so at no moment is there
no checkpoint. What goes is hidden by a rename first: a folder with a visible name is always complete.
"""

from __future__ import annotations

import math
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from gym_core.errors import BadRequest
from trainer.disk import space_for
from trainer.draws import Drawn
from trainer.placement import Handle

CHECKPOINT_VERSION = 1
STAGE = "checkpoint"
LATEST, BEST = "latest", "best"
_NAME = re.compile(r"step-(\d+)(?:~(\d+))?")


class State(msgspec.Struct, kw_only=True):
    """What a resume needs beside the learner: the next step to do, the curriculum, the tasks that are drawn already.

    `score`: held-out reward of these weights, where they were validated. `plateau_best`: the step whose checkpoint the
    pools are profiled with on a plateau (trainer/plateau.py), which stays; not always that of the highest `score`.
    """

    step: int
    version: int
    recipe: dict[str, Any]
    curriculum: dict[str, Any] = {}
    drawn: dict[int, Drawn] = {}
    score: float | None = None
    extra: dict[str, Any] = {}
    plateau_best: int | None = None
    checkpoint_version: int = CHECKPOINT_VERSION


class Checkpoints:
    """The checkpoints of one run, written by one process.

    The newest `keep` stay, the one with the highest held-out reward (`best`), and the plateau's best (`plateau_best`).
    """

    def __init__(self, directory: Path, keep: int = 2) -> None:
        self.directory, self.keep = directory, keep

    async def save(self, learner: Handle, state: State) -> Path:
        """Write one and drop what is too old. The learner writes its part where it lives.

        Raises DiskFull, naming the file, when there is no room: the older checkpoints are as they were.
        """
        self._sweep()
        final = self._unused(state.step)
        partial = self.directory / f".partial-{final.name}"
        try:
            with space_for(partial, STAGE):
                partial.mkdir(parents=True)
                await learner.call("save", str(partial))
                (partial / "state.json").write_bytes(msgspec.json.encode(state))
                _sync(partial)
                partial.rename(final)
                _sync_directory(self.directory)
                self._link(LATEST, final)
        finally:
            shutil.rmtree(partial, ignore_errors=True)  # after the rename there is nothing; before it, room is made
        self._prune(state.plateau_best)
        return final

    def tidy(self) -> Path | None:
        """End what a process that died in `save` had begun; the newest checkpoint, None where there is none."""
        self._sweep()
        newest = self.latest()
        if newest is not None:
            self._link(LATEST, newest)
            self._prune(read_state(newest).plateau_best)
        return newest

    def all(self) -> list[Path]:
        """Complete checkpoints, one for each step, oldest first."""
        newest: dict[int, Path] = {}
        for path in sorted(self._folders(), key=_order):
            newest[_order(path)[0]] = path
        return [newest[step] for step in sorted(newest)]

    def latest(self) -> Path | None:
        found = self.all()
        return found[-1] if found else None

    def of(self, step: int) -> Path | None:
        """The step's checkpoint, the newest where it was saved again; None where there is none."""
        return next((path for path in self.all() if _order(path)[0] == step), None)

    def best(self) -> Path | None:
        """The one with the highest held-out reward, the earliest of equals; None where nothing was validated."""
        scores = {path: _score(path) for path in self.all()}
        known = {path: score for path, score in scores.items() if score is not None}
        return max(known, key=lambda path: known[path]) if known else None

    def best_score(self) -> float:
        """-inf where nothing was validated."""
        found = self.best()
        score = None if found is None else _score(found)
        return -math.inf if score is None else score

    def _folders(self) -> list[Path]:
        if not self.directory.is_dir():
            return []
        return [p for p in self.directory.iterdir() if _NAME.fullmatch(p.name) and (p / "state.json").is_file()]

    def _unused(self, step: int) -> Path:
        """A name for this step that sorts behind all that it had."""
        had = [_order(path)[1] for path in self._folders() if _order(path)[0] == step]
        return self.directory / (f"step-{step:06d}~{max(had) + 1}" if had else f"step-{step:06d}")

    def _link(self, name: str, target: Path) -> None:
        """Let a link show this checkpoint: before the rename it shows the last one, after it this one."""
        fresh = self.directory / f".{name}"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(target.name)
        fresh.rename(self.directory / name)
        _sync_directory(self.directory)

    def _prune(self, plateau_best: int | None) -> None:
        """Drop what is too old and what was replaced; best is linked anew first, so no link shows what is gone."""
        kept = set(self.all()[-self.keep :])
        if plateau_best is not None and (reached := self.of(plateau_best)) is not None:
            kept.add(reached)
        if (best := self.best()) is not None:
            self._link(BEST, best)
            kept.add(best)
        for old in self._folders():
            if old not in kept:
                hidden = self.directory / f".old-{old.name}"
                old.rename(hidden)
                shutil.rmtree(hidden)

    def _sweep(self) -> None:
        """What an earlier process left half-written or half-deleted."""
        for leftover in [*self.directory.glob(".partial-*"), *self.directory.glob(".old-*")]:
            shutil.rmtree(leftover)


def _order(path: Path) -> tuple[int, int]:
    """(step, how often it was saved before)."""
    found = _NAME.fullmatch(path.name)
    assert found is not None
    return int(found[1]), int(found[2] or 0)


def _score(path: Path) -> float | None:
    score = read_state(path).score
    return None if score is None or math.isnan(score) else score


def read_state(path: Path) -> State:
    """The state of a checkpoint. Raises BadRequest when it is not one, or of a newer kind."""
    file = path / "state.json"
    if not file.is_file():
        raise BadRequest(f"{path} is not a checkpoint: it has no state.json", field="checkpoint")
    try:
        state = msgspec.json.decode(file.read_bytes(), type=State)
    except msgspec.DecodeError as error:
        raise BadRequest(f"{file} cannot be read: {error}", field="checkpoint") from None
    if state.checkpoint_version > CHECKPOINT_VERSION:
        raise BadRequest(
            f"{path} is a checkpoint of version {state.checkpoint_version}; "
            f"this program reads up to {CHECKPOINT_VERSION}",
            field="checkpoint",
        )
    return state


def check_recipe(saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raises BadRequest naming what differs: a run resumes with the recipe it was started with, in any layout and
    with any number of policy replicas."""
    before, after = _bound(saved), _bound(now)
    differing = sorted(key for key in set(before) | set(after) if before.get(key) != after.get(key))
    if differing:
        raise BadRequest(
            f"the checkpoint's recipe differs in {', '.join(f'`{key}`' for key in differing)}",
            field=differing[0],
            hint="resume with the recipe the run was started with, or start a new run from the checkpoint's model",
        )


def _bound(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What of a recipe a run is bound to."""
    kept = {key: value for key, value in recipe.items() if key != "layout"}
    if isinstance(policy := kept.get("policy"), Mapping):
        kept["policy"] = {key: value for key, value in policy.items() if key != "replicas"}
    return kept


def _sync(directory: Path) -> None:
    for path in directory.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        else:
            _sync_directory(path)
    _sync_directory(directory)


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
