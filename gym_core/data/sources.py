"""Where a part of a blend takes its rows: a file, gone through in a new random order each epoch, or a generator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from gym_core.data.lines import LineIndex
from gym_core.environment import Environment
from gym_core.errors import BadRequest
from gym_core.generate import iter_tasks
from gym_core.seeds import rng

Row = dict[str, Any]


class Source(Protocol):
    """Rows of one part. `available` is how many there are in all epochs, None for a generator without end."""

    @property
    def available(self) -> int | None: ...

    def rows(self, seed: int) -> Iterator[Row]:
        """The rows in the order of this seed."""

    def opened(self) -> AbstractContextManager[Any]:
        """What has to be closed again."""


@dataclass(slots=True)
class FileSource:
    """Every row once per epoch, in an order that follows from the seed; only line offsets are held."""

    path: Path
    index: LineIndex
    epochs: int = 1

    @classmethod
    def at(cls, path: Path, epochs: int = 1) -> FileSource:
        """Raises `BadRequest` for a file that cannot be read or holds no rows."""
        index = LineIndex(path)
        if not len(index):
            index.close()
            raise BadRequest(f"{path} holds no rows", field="file")
        return cls(path, index, epochs)

    @property
    def available(self) -> int:
        return len(self.index) * self.epochs

    def rows(self, seed: int) -> Iterator[Row]:
        for epoch in range(self.epochs):
            order = list(range(len(self.index)))
            rng("blend", seed, self.path.name, epoch).shuffle(order)
            for place in order:
                yield self.index.row(place)

    def opened(self) -> AbstractContextManager[Any]:
        return self.index


@dataclass(slots=True)
class GeneratedSource:
    """Different tasks of an environment, its levels in turn; a level that has no more ends the part."""

    environment: Environment
    levels: list[int]
    split: str = "train"

    @property
    def available(self) -> None:
        return None

    def rows(self, seed: int) -> Iterator[Row]:
        tasks = [iter_tasks(self.environment, seed=seed, level=level, split=self.split) for level in self.levels]
        while True:
            for level in tasks:
                yield next(level).to_row()

    def opened(self) -> AbstractContextManager[Any]:
        return nullcontext()
