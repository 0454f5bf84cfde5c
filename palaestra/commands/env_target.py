"""Which environments a command means: names that the registry knows, or places on the disk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from gym_core.errors import UnknownName
from gym_core.manifest import FILE_NAME
from gym_core.registry import Registry


def is_place(target: str) -> bool:
    """Whether this is written as a path: a Python file, or anything with a separator."""
    return target.endswith(".py") or os.sep in target or target in (".", "..")


def find(target: str, paths: Sequence[Path] = ()) -> tuple[Registry, list[str]]:
    """The registry that knows the target, and its names there: one, or all of a folder of environments.

    A name that nobody knows may be a folder here. Raises `UnknownName`, `BadRequest`.
    """
    if is_place(target):
        registry = Registry.at(target)
        return registry, registry.names()
    registry = Registry.discover(paths)
    try:
        return registry, [registry.resolve(target)]
    except UnknownName as unknown:
        if not (Path(target) / FILE_NAME).is_file():
            unknown.hint = f"{unknown.hint}; a file or folder is written ./{target}"
            raise
    here = Registry.at(target)
    return here, here.names()
