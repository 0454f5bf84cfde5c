"""Compresses token segments that nobody writes any more, and gives back the room that no rollout needs.

    segment ─▶ its blobs, packed, in a new segment ─▶ synced ─▶ rows point there, committed ─▶ the old one is deleted

A kill between two steps leaves a segment that no row names: the next call deletes it. Blobs that are damaged stay where
they are, named in the result. Segments of living writers are locked by them and left alone.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Engine, bindparam, func, select, update
from sqlalchemy.exc import SQLAlchemyError

from gym_core.errors import Conflict
from gym_core.store.blobs import RAW, BlobReader, BlobRef, BlobWriter
from gym_core.store.engine import Engines
from gym_core.store.fault import StoreFault, fault_of
from gym_core.store.models import RolloutRow
from gym_core.store.packed import PACKED, pack
from gym_core.store.reading import PLACE

LOCK_FILE = "maintenance.lock"
_BATCH = 500
"""Rows changed in one transaction: writers wait for it."""

_BATCH_BYTES = 32 << 20

_IN_SEGMENT = select(RolloutRow.seq, *PLACE).where(RolloutRow.blob_file == bindparam("file")).order_by(RolloutRow.seq)
_USED = select(func.count(), func.sum(RolloutRow.blob_length)).where(RolloutRow.blob_file == bindparam("file"))
_NAMED = select(RolloutRow.blob_file).where(RolloutRow.blob_file != "").distinct()
_MOVE = (
    update(RolloutRow)
    .where(RolloutRow.seq == bindparam("old_seq"), RolloutRow.blob_file == bindparam("old_file"))
    .values({place.key: bindparam(f"new_{place.key}") for place in PLACE})
)


class Compacted(msgspec.Struct, kw_only=True):
    """What came of it. `damaged` blobs and `missing` segments are named; `in_use` segments belong to living writers."""

    segments: int = 0
    blobs: int = 0
    deleted: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    in_use: int = 0
    damaged: list[str] = []
    missing: list[str] = []


def compact(engines: Engines, progress: Callable[[int, int], None] | None = None) -> Compacted:
    """One pass over the folder. Raises `Conflict` while another process does the same, `StoreFault` for a full disk."""
    result = Compacted()
    try:
        with maintaining(engines.blobs):
            _pass(engines, result, progress or (lambda done, total: None))
            with engines.read.connect() as connection:
                named = set(connection.execute(_NAMED).scalars())
    except (SQLAlchemyError, OSError) as error:
        raise fault_of(error, engines.name) from None
    result.missing = sorted(name for name in named if not (engines.blobs / name).exists())
    return result


@contextmanager
def maintaining(folder: Path) -> Iterator[None]:
    """One process tidies a folder at a time. Raises `Conflict` for the second."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK_FILE).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                f"another process compacts or prunes {folder}", field="store", hint="try again when it is done"
            ) from None
        yield


def segments(folder: Path) -> list[Path]:
    """Every token segment, oldest first."""
    return sorted((path for path in folder.iterdir() if path.suffix in (RAW, PACKED)), key=lambda p: p.stat().st_mtime)


def _pass(engines: Engines, result: Compacted, progress: Callable[[int, int], None]) -> None:
    found = segments(engines.blobs)
    sizes = {path: path.stat().st_size for path in found}
    total, done = sum(sizes.values()), 0
    result.bytes_before = total
    reader = BlobReader(engines.blobs)
    try:
        for path in found:
            with _mine(path) as free:
                if free:
                    _tidy(engines, reader, path, result)
                else:
                    result.in_use += 1
            done += sizes[path]
            progress(done, total)
    finally:
        reader.close()
    result.bytes_after = sum(path.stat().st_size for path in segments(engines.blobs))


@contextmanager
def _mine(path: Path) -> Iterator[bool]:
    """Whether no living writer holds the segment; held by us for as long."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(file)


def _tidy(engines: Engines, reader: BlobReader, path: Path, result: Compacted) -> None:
    with engines.read.connect() as connection:
        rows = connection.execute(_IN_SEGMENT, {"file": path.name}).all()
    used = sum(row.blob_length for row in rows)
    if rows and path.suffix == PACKED and used == path.stat().st_size:
        return
    if rows:
        result.segments += 1
        _repack(engines, reader, path, rows, result)
    with engines.read.connect() as connection:
        left = connection.execute(_USED, {"file": path.name}).one()[0]
    if left == 0:
        path.unlink()
        result.deleted += 1


def _repack(engines: Engines, reader: BlobReader, path: Path, rows: Sequence[Any], result: Compacted) -> None:
    """Copy what can be read into a new segment and let the rows point there."""
    writer = BlobWriter(engines.blobs, sync=True, suffix=PACKED)
    moved: list[tuple[int, bytes]] = []
    held = 0
    try:
        for row in rows:
            ref = BlobRef(*row[1:])
            try:
                stored = reader.read_stored(ref)
            except StoreFault as fault:
                result.damaged.append(fault.message)
                continue
            moved.append((row.seq, stored if path.suffix == PACKED else pack(stored)))
            held += len(moved[-1][1])
            if len(moved) >= _BATCH or held >= _BATCH_BYTES:
                _move(engines.write, path.name, writer, moved)
                result.blobs += len(moved)
                moved, held = [], 0
        _move(engines.write, path.name, writer, moved)
        result.blobs += len(moved)
    finally:
        writer.close()


def _move(engine: Engine, old_file: str, writer: BlobWriter, moved: list[tuple[int, bytes]]) -> None:
    """Bytes first, synced; then the rows, in one transaction. A row pruned meanwhile is not there to change."""
    places = writer.append([data for _, data in moved])
    changes = [
        {"old_seq": seq, "old_file": old_file, **{f"new_blob_{name}": value for name, value in ref._asdict().items()}}
        for (seq, _), ref in zip(moved, places, strict=True)
    ]
    if changes:
        with engine.begin() as connection:
            connection.execute(_MOVE, changes)
