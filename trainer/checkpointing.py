"""Checkpoints that are whole or absent: written beside their place, synced, renamed into it.

checkpoints/step-000010/model/        released names and config, loads anywhere
                        learner.pt    optimizer, generator, version
                        state.json    step, curriculum, recipe
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from gym_core.errors import BadRequest
from trainer.placement import Handle

CHECKPOINT_VERSION = 1


class State(msgspec.Struct, kw_only=True):
    """What a resume needs beside the learner: the next step to do, and the curriculum. `best`: the step that validated
    best, whose checkpoint stays."""

    step: int
    version: int
    recipe: dict[str, Any]
    curriculum: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    best: int | None = None
    checkpoint_version: int = CHECKPOINT_VERSION


class Checkpoints:
    """The checkpoints of one run; the newest `keep` stay, and the best."""

    def __init__(self, directory: Path, keep: int = 2) -> None:
        self.directory, self.keep = directory, keep

    def path(self, step: int) -> Path:
        return self.directory / f"step-{step:06d}"

    async def save(self, learner: Handle, state: State) -> Path:
        """Write one and drop the oldest, but not the best. The learner writes its part where it lives."""
        final = self.path(state.step)
        partial = self.directory / f".partial-{state.step:06d}"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        await learner.call("save", str(partial))
        (partial / "state.json").write_bytes(msgspec.json.encode(state))
        _sync(partial)
        if final.exists():
            shutil.rmtree(final)
        partial.rename(final)
        _sync_directory(self.directory)
        for old in self.all()[: -self.keep]:
            if state.best is None or old != self.path(state.best):
                shutil.rmtree(old)
        return final

    def all(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        return sorted(path for path in self.directory.glob("step-*") if (path / "state.json").is_file())

    def latest(self) -> Path | None:
        found = self.all()
        return found[-1] if found else None


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
    """Raises BadRequest naming what differs: a run resumes with the recipe it was started with, in any layout."""
    differing = sorted(key for key in (set(saved) | set(now)) - {"layout"} if saved.get(key) != now.get(key))
    if differing:
        raise BadRequest(
            f"the checkpoint's recipe differs in {', '.join(f'`{key}`' for key in differing)}",
            field=differing[0],
            hint="resume with the recipe the run was started with, or start a new run from the checkpoint's model",
        )


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
