"""The stores that a dashboard shows: found by path, opened when they are asked for, let go of when they are not.

runs/                      every runs/<id>/store.db, those that appear later too
runs/<id>, rollouts.db     one store
postgresql://…             one store
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from gym_core.errors import BadRequest, UnknownName
from gym_core.store import Store

MAX_OPEN = 16
"""Stores kept open at once; each has two threads."""


class Signature(NamedTuple):
    """What changes when a store's file is replaced, and what changes when it is written."""

    identity: tuple[int, int]
    written: tuple[int, int]


@dataclass(slots=True, frozen=True)
class Shelf:
    """One store: the name it has in addresses, where it is, and the folder it lies in where it is a file."""

    key: str
    place: str
    folder: Path | None

    def signature(self) -> Signature | None:
        """None where it is no file. Raises `UnknownName` when the file is gone."""
        if self.folder is None:
            return None
        path = Path(self.place)
        try:
            stat = path.stat()
        except OSError:
            raise UnknownName(
                f"the store {self.place} is not there any more", field="store", hint="it was deleted or moved"
            ) from None
        log = path.with_name(path.name + "-wal")
        written = log.stat().st_mtime_ns if log.exists() else 0
        return Signature((stat.st_dev, stat.st_ino), (stat.st_mtime_ns, written))


@dataclass(slots=True)
class _Open:
    store: Store
    identity: tuple[int, int] | None
    readers: int = 0


class Library:
    """Finds and opens stores. Used in one event loop; `close` it."""

    def __init__(self, places: Sequence[str | Path]) -> None:
        if not places:
            raise BadRequest("there is nothing to show", field="store", hint="name a store, a run, or a folder of runs")
        self._places = [str(place) for place in places]
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._opening = asyncio.Lock()

    def shelves(self) -> dict[str, Shelf]:
        """What there is now, by key."""
        found: dict[str, Shelf] = {}
        for place in self._places:
            for path in _stores_in(place):
                stem = path if isinstance(path, str) else path.parent.name if path.name == "store.db" else path.stem
                key = _free(re.sub(r"[^A-Za-z0-9._-]+", "_", _without_secret(stem)) or "store", found)
                found[key] = Shelf(key, str(path), None if isinstance(path, str) else path.parent)
        return found

    def shelf(self, key: str) -> Shelf:
        """Raises `UnknownName` where there is no store of that name, or not any more."""
        shelf = self.shelves().get(key)
        if shelf is None:
            raise UnknownName(f"there is no store {key!r} here", field="store", hint="it was deleted or moved")
        return shelf

    @asynccontextmanager
    async def reading(self, key: str) -> AsyncIterator[Store]:
        """The store, open for as long as this is. Raises `UnknownName`, and what `Store.open` raises."""
        held = await self._take(self.shelf(key))
        held.readers += 1
        try:
            yield held.store
        finally:
            held.readers -= 1

    async def _take(self, shelf: Shelf) -> _Open:
        async with self._opening:
            signature = shelf.signature()
            identity = None if signature is None else signature.identity
            held = self._open.get(shelf.key)
            if held is not None and held.identity != identity:  # another file under the same name
                del self._open[shelf.key]
                await held.store.close()
                held = None
            if held is None:
                held = self._open[shelf.key] = _Open(await Store.open(shelf.place, create=False), identity)
            self._open.move_to_end(shelf.key)
            await self._let_go()
            return held

    async def _let_go(self) -> None:
        """Close what was not used for longest, but never under a reader."""
        for key in [key for key, held in self._open.items() if not held.readers][: max(0, len(self._open) - MAX_OPEN)]:
            await self._open.pop(key).store.close()

    async def close(self) -> None:
        while self._open:
            await self._open.popitem()[1].store.close()


def _stores_in(place: str) -> list[Path | str]:
    if "://" in place and not place.startswith("sqlite:"):
        return [place]
    path = Path(place.removeprefix("sqlite:///"))
    if not path.is_dir():
        return [path] if path.exists() else []
    if (path / "store.db").is_file():
        return [path / "store.db"]
    return sorted([*path.glob("*.db"), *path.glob("*/store.db")])


def _without_secret(address: str) -> str:
    return re.sub(r"^\w[\w+]*://([^/@]*@)?", "", address).partition("?")[0]


def _free(key: str, taken: dict[str, Shelf]) -> str:
    number, free = 1, key
    while free in taken:
        number += 1
        free = f"{key}-{number}"
    return free
