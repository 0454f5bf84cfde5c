"""A blend as it is written down: parts with weights, how many rows, how often a row may return.

name = "rlvr"
rows = 10_000              # without it: as many as the files allow
[[part]]
name = "dapo"              # becomes the row's `dataset`, unless it has one
weight = 17
file = "dapo.jsonl"        # beside the recipe; or no file, and tasks are generated:
environment = "math"
levels = [1, 2, 3]
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import msgspec

from gym_core.errors import BadRequest, misfit
from gym_core.nearest import hint


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One source. `published` is the size that the weight comes from, `note` where from; both for readers."""

    name: str
    weight: float
    file: str = ""
    environment: str = ""
    levels: list[int] = []
    published: int = 0
    note: str = ""


class Blend(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Any `window` rows hold the parts in their proportions; `epochs` bounds how often a file is gone through."""

    part: list[Part]
    name: str = "blend"
    description: str = ""
    rows: int = 0
    seed: int = 0
    epochs: int = 1
    window: int = 128


def read_blend(path: Path) -> Blend:
    """The recipe. Raises `BadRequest` naming file, key and the way out."""
    try:
        data = path.read_bytes()
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise BadRequest(f"{path} cannot be read: {why}", field="recipe") from None
    try:
        blend = msgspec.toml.decode(data, type=Blend)
    except msgspec.ValidationError as error:
        what, where = misfit(error)
        raise BadRequest(f"{path}: {what}", field=where.lstrip("."), hint=_keys(what)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"{path} is not TOML: {error}", field="recipe") from None
    _check(blend, path)
    return blend


def _keys(what: str) -> str:
    unknown = what.partition("`")[2].partition("`")[0]
    known = dict.fromkeys([*Blend.__struct_fields__, *Part.__struct_fields__])
    return hint(unknown, known) if unknown and unknown not in known else ""


def _check(blend: Blend, path: Path) -> None:
    if not blend.part:
        raise BadRequest(f"{path} has no [[part]]", field="part")
    for name, count in Counter(part.name for part in blend.part).items():
        if count > 1:
            raise BadRequest(f"{path} has {count} parts named {name!r}", field="part.name")
    for part in blend.part:
        if not 0 < part.weight < float("inf"):
            raise BadRequest(f"{path}: the weight of {part.name!r} must be above 0, not {part.weight}", field="weight")
        if not part.file and not part.environment:
            raise BadRequest(f"{path}: part {part.name!r} needs a file, or an environment", field="file")
    for name, least in (("rows", 0), ("epochs", 1), ("window", 1)):
        if getattr(blend, name) < least:
            raise BadRequest(f"{path}: `{name}` is {least} or more, not {getattr(blend, name)}", field=name)
