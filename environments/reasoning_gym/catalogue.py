"""What is known of each generator: how it is graded, which curriculum levels it plays, and why some are shut out.

The knowledge lies in `datasets.toml` beside this file and was measured by `audit.py`.
"""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path
from typing import Any

import msgspec

FILE = Path(__file__).with_name("datasets.toml")
NUM_LEVELS = 6
"""Level 0 is the few generators with short prompts; level n plays everything at the n-th entry of `levels`."""


class Generator(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One generator of the package.

    `rule` names the strict rule, `pattern` the only form of answer it looks at. `levels` are curriculum levels, one
    for each of the levels 1 to 5; `configs` stand in for them where the package has no usable curriculum. `start` is
    the configuration of level 0. `by_seed`: the package makes the whole data set at once, so an item is a data set of
    one; `pool`: it cannot make more items than this. `denied` says why it is refused altogether, `not_generated` why
    it is graded only for rows that bring it, `unsafe` why not even those may have it made again.
    """

    rule: str = "text"
    pattern: str = ""
    levels: tuple[int, int, int, int, int] = (0, 1, 2, 3, 4)
    configs: list[dict[str, Any]] = []
    start: dict[str, Any] | None = None
    by_seed: bool = False
    pool: int = 0
    denied: str = ""
    unsafe: str = ""
    not_generated: str = ""


@functools.cache
def generators() -> dict[str, Generator]:
    """All generators by name. Raises ValueError naming the entry that does not fit."""
    found: dict[str, Generator] = {}
    for name, fields in tomllib.loads(FILE.read_text()).items():
        try:
            found[name] = msgspec.convert(fields, Generator)
        except msgspec.ValidationError as error:
            raise ValueError(f"{FILE.name}: [{name}]: {error}") from None
    return found


@functools.cache
def names_at(level: int) -> tuple[str, ...]:
    """The generators that tasks of this level are drawn from, in a fixed order."""
    made = {name: entry for name, entry in generators().items() if not (entry.denied or entry.not_generated)}
    return tuple(sorted(name for name, entry in made.items() if level > 0 or entry.start is not None))
