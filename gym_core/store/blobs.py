"""Token blobs: append-only segments beside the database; the row keeps where each blob lies.

    append ─▶ bytes in the segment ─▶ row commits       kill -9 between the two leaves a tail that no row names

Each writer has segments of its own, so two never interleave, and keeps its newest one locked: whoever tidies up
(`compact.py`) leaves it alone. A writer knows its own end of file and writes there, so a torn write is overwritten by
the next one. `*.tokens` hold blobs as they came, `*.packed` compressed ones (`packed.py`).
"""

from __future__ import annotations

import fcntl
import os
import secrets
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from gym_core.store.fault import StoreFault
from gym_core.store.packed import PACKED, unpack

SEGMENT_BYTES = 1 << 30
"""A segment that has grown over this is closed and a new one begun."""

RAW = ".tokens"
_OPEN_FILES = 32


class BlobRef(NamedTuple):
    """Where a blob lies: `length` bytes of this CRC-32, as stored. An empty blob lies nowhere: file "", length 0."""

    file: str
    offset: int
    length: int
    crc32: int


NOWHERE = BlobRef("", 0, 0, 0)


class BlobWriter:
    """Appends to a segment of its own in `folder`, made with the first blob. Used by one thread.

    `sync` also forces the bytes to the disk, so that they outlive the machine and not only the process.
    """

    def __init__(self, folder: Path, sync: bool = False, segment_bytes: int = SEGMENT_BYTES, suffix: str = RAW) -> None:
        self._folder = folder
        self._sync = sync
        self._segment_bytes = segment_bytes
        self._suffix = suffix
        self._file: int | None = None
        self._name = ""
        self._end = 0

    def append(self, blobs: Sequence[bytes]) -> list[BlobRef]:
        """Write all of them with one call. Raises OSError; nothing is appended then."""
        if not any(blobs):
            return [NOWHERE] * len(blobs)
        file = self._current()
        refs, at = [], self._end
        for blob in blobs:
            refs.append(BlobRef(self._name, at, len(blob), zlib.crc32(blob)) if blob else NOWHERE)
            at += len(blob)
        data = memoryview(blobs[0] if len(blobs) == 1 else b"".join(blobs))
        done = 0
        while done < len(data):
            done += os.pwrite(file, data[done:], self._end + done)
        if self._sync:
            os.fdatasync(file)
        self._end = at
        return refs

    def _current(self) -> int:
        if self._file is not None and self._end >= self._segment_bytes:
            self.close()
        if self._file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._name, self._file = self._begin()
            self._end = 0
        return self._file

    def _begin(self) -> tuple[str, int]:
        """A new segment, locked; the kernel lets go of the lock however this process ends."""
        while True:
            name = f"{os.getpid()}-{secrets.token_hex(6)}{self._suffix}"
            file = os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file).st_nlink:
                return name, file
            os.close(file)  # whoever tidies up found it empty before it was locked

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.close(file)


class BlobReader:
    """Reads blobs of any segment in `folder`, checked. Used by one thread at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: OrderedDict[str, int] = OrderedDict()

    def read(self, ref: BlobRef) -> bytes:
        """The blob's bytes. Raises `StoreFault`, which names the segment and the offset, when they are missing or not
        those that were written."""
        data = self.read_stored(ref)
        if not ref.file.endswith(PACKED):
            return data
        try:
            return unpack(data)
        except StoreFault as fault:
            fault.message = f"{self._place(ref)}: {fault.message}"
            raise

    def read_stored(self, ref: BlobRef) -> bytes:
        """As `read`, but a packed blob as it is stored."""
        if ref.length == 0:
            return b""
        try:
            data = os.pread(self._open(ref.file), ref.length, ref.offset)
        except OSError as error:
            raise StoreFault(
                f"cannot read {self._place(ref)}: {error.strerror}",
                stage="store",
                hint="the segment was moved or deleted by something else; restore it, or mount its folder",
            ) from None
        if len(data) != ref.length or zlib.crc32(data) != ref.crc32:
            raise StoreFault(
                f"{self._place(ref)}: the {ref.length} bytes there are not those that were written",
                stage="store",
                hint="the file was cut or changed by something else; restore it from a backup",
            )
        return data

    def _place(self, ref: BlobRef) -> str:
        return f"{self._folder / ref.file} at byte {ref.offset}"

    def _open(self, name: str) -> int:
        if name in self._files:
            self._files.move_to_end(name)
            return self._files[name]
        if name != os.path.basename(name) or name in (".", ".."):  # a row that was tampered with reads no other file
            raise StoreFault(f"{name!r} is no name of a file of tokens", stage="store")
        self._let_go_of_deleted()
        file = self._files[name] = os.open(self._folder / name, os.O_RDONLY | os.O_CLOEXEC)
        if len(self._files) > _OPEN_FILES:
            os.close(self._files.popitem(last=False)[1])
        return file

    def _let_go_of_deleted(self) -> None:
        """A segment that was compacted or pruned takes room on the disk until its last reader closes it."""
        for name in [name for name, file in self._files.items() if os.fstat(file).st_nlink == 0]:
            os.close(self._files.pop(name))

    def close(self) -> None:
        while self._files:
            os.close(self._files.popitem()[1])
