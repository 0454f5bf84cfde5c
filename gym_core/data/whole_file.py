"""A file that is there whole or not at all: written beside its place, moved there when it is finished."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from gym_core.errors import BadRequest


class WholeFile:
    """JSON lines for `path`. As a context: kept when the block ends, thrown away when it raises.

    What `path` held before stays until then. Raises `BadRequest` where nothing can be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 0
        self._part = path.with_name(f".{path.name}.{os.getpid()}.part")
        if path.is_dir():
            raise BadRequest(f"{path} is a folder, not a file", field="out")
        try:
            self._file = self._part.open("wb")
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else str(error)
            raise BadRequest(
                f"{path} cannot be written: {why}", field="out", hint=f"there must be a folder {path.parent}"
            ) from None

    def __enter__(self) -> WholeFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.discard()
            return
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._part, self.path)

    def discard(self) -> None:
        """Leave nothing behind."""
        self._file.close()
        self._part.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        """One line, without its end."""
        self._file.write(data)
        self._file.write(b"\n")
        self.rows += 1

    def row(self, value: Any) -> None:
        self.write(msgspec.json.encode(value))
