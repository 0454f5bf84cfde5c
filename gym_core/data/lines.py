"""JSON lines as they lie in a file, one at a time; and single lines found again by their number.

for line in read_lines(path): line.number, line.offset, line.data, line.row()
index = LineIndex(path); index.data(41)            # 8 bytes of memory per line
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec

from gym_core.errors import BadRequest, BadRow

MAX_LINE_BYTES = 256 << 20
"""A longer line is no row but a file of another kind; it is refused before it fills the memory."""


class Line(NamedTuple):
    """One line that is not blank: its number from 1, where it starts, and its bytes without the line's end."""

    number: int
    offset: int
    data: bytes

    def row(self) -> dict[str, Any]:
        """The JSON object of this line. Raises `BadRow` naming the line."""
        return row_of(self.data, f"line {self.number}")


def row_of(data: bytes, where: str) -> dict[str, Any]:
    """`data` as a JSON object. Raises `BadRow` that says where it lies."""
    try:
        row = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRow(f"{where} is not JSON: {error}", field="") from None
    if not isinstance(row, dict):
        raise BadRow(f"{where} holds no JSON object but {type(row).__name__}", field="")
    return row


def read_lines(path: Path) -> Iterator[Line]:
    """The lines of a JSONL file, blank ones left out. Raises `BadRequest` for a file that cannot be read."""
    with open_rows(path) as file:
        offset = 0
        number = 0
        while data := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(data) > MAX_LINE_BYTES:
                raise BadRequest(
                    f"{path}, line {number} is longer than {MAX_LINE_BYTES >> 20} MB",
                    field=f"line {number}",
                    hint="JSONL has one row per line",
                )
            if number == 1:
                data = data.removeprefix(b"\xef\xbb\xbf")
            if data.strip():
                yield Line(number, offset, data.rstrip(b"\r\n"))
            offset = file.tell()


def open_rows(path: Path) -> BinaryIO:
    """The file for reading. Raises `BadRequest` naming it, also for formats that people take for JSONL."""
    try:
        file = path.open("rb")
        start = file.read(4)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise BadRequest(f"{path} cannot be read: {why}", field=str(path)) from None
    if start == b"PAR1" or start[:2] == b"\x1f\x8b":
        file.close()
        kind = "Parquet" if start == b"PAR1" else "gzip"
        raise BadRequest(
            f"{path} is {kind}, rows are read from JSONL",
            field=str(path),
            hint="pandas: read_parquet(file).to_json('rows.jsonl', orient='records', lines=True)"
            if kind == "Parquet"
            else "gunzip it first",
        )
    file.seek(0)
    return file


class LineIndex:
    """Where each row of a file starts, so that any of them can be read again. Use as a context."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offsets = array("Q")
        self._numbers = array("L")
        for line in read_lines(path):
            self._offsets.append(line.offset)
            self._numbers.append(line.number)
        self._file: BinaryIO | None = None

    def __len__(self) -> int:
        return len(self._offsets)

    def __enter__(self) -> LineIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def data(self, index: int) -> bytes:
        """The bytes of row `index`, from 0."""
        if self._file is None:
            self._file = open_rows(self.path)
        self._file.seek(self._offsets[index])
        return self._file.readline().removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n")

    def row(self, index: int) -> dict[str, Any]:
        """Row `index`, from 0. Raises `BadRow` naming file and line."""
        return row_of(self.data(index), f"{self.path.name}, line {self._numbers[index]}")
