"""Rows of a published blend whose question and answer lie in another dataset, filled from a local copy of that one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from environments.maths.blends import PLACEHOLDER, SOURCES, resolve
from gym_core.data.lines import LineIndex
from gym_core.errors import BadRequest, BadRow
from palaestra.options import parse_pairs

Row = dict[str, Any]


class Placeholders:
    """Local copies by the name that blends give them. `fill` leaves every other row as it is."""

    def __init__(self, copies: Mapping[str, LineIndex]) -> None:
        self._copies = copies

    @classmethod
    def opened(cls, files: Mapping[str, Path], stack: ExitStack) -> Placeholders:
        return cls({name: stack.enter_context(LineIndex(path)) for name, path in files.items()})

    def fill(self, row: Row) -> Row:
        """The row that a placeholder stands for. Raises `BadRow` that says which copy is missing and how to get it."""
        pointer = row.get(PLACEHOLDER)
        if pointer is None:
            return row
        name = row.get("dataset")
        if not isinstance(name, str) or name not in SOURCES:
            known = ", ".join(SOURCES)
            raise BadRow(f"a placeholder of an unknown dataset {name!r}", field="dataset", hint=f"known: {known}")
        number = pointer.get("row") if isinstance(pointer, dict) else None
        if not isinstance(number, int) or isinstance(number, bool):
            raise BadRow("a placeholder needs `row`, the number of the row it stands for", field=f"{PLACEHOLDER}.row")
        copy = self._copies.get(name)
        if copy is None:
            raise BadRow(
                f"this row is a placeholder: its question and answer are row {number} of {SOURCES[name]}",
                field=PLACEHOLDER,
                hint=f"download that split, write it as JSONL in its order, and name it: --source {name}=FILE",
            )
        if not 0 <= number < len(copy):
            raise BadRow(
                f"row {number} is not in {copy.path.name}, which has {len(copy)} rows",
                field=f"{PLACEHOLDER}.row",
                hint=f"the whole of {SOURCES[name]} is wanted, in its order",
            )
        return resolve(row, copy.row(number))


def source_files(pairs: Sequence[str]) -> dict[str, Path]:
    """`NAME=FILE` options, NAME a dataset of placeholders or a part of its name that only one has."""
    files = {}
    for given, file in parse_pairs(pairs, "--source").items():
        names = [given] if given in SOURCES else [name for name in SOURCES if given in name]
        if len(names) != 1:
            raise BadRequest(f"no placeholders of {given!r}", field="--source", hint=f"there are: {', '.join(SOURCES)}")
        files[names[0]] = Path(file)
    return files
