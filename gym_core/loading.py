"""From a spec string to a class, the same way in the service and in its workers.

A spec is `package.module:Class`, or `/path/to/environment.py:Class` for code that is not installed. A class that leaves
its `name` empty is named after itself: `WordCount` becomes `word_count`, in every process that loads it.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from gym_core.errors import BadRequest

_FILE_PREFIX = "palaestra_file_"
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+|[A-Z]")


def load_class(spec: str) -> type[Any]:
    """Import the class that a spec names. Raises `BadRequest` where it is missing; import errors pass through."""
    module_name, _, class_name = spec.rpartition(":")
    if not module_name or not class_name:
        raise BadRequest(f"a spec looks like 'package.module:Class', not {spec!r}", field="spec")
    module = load_file(Path(module_name)) if module_name.endswith(".py") else importlib.import_module(module_name)
    found = getattr(module, class_name, None)
    if not isinstance(found, type):
        raise BadRequest(f"{module_name} has no class {class_name!r}", field="spec")
    return named(found)


def named(cls: type[Any]) -> type[Any]:
    """The class, with a `name` where it has an empty one."""
    if getattr(cls, "name", None) == "":
        cls.name = "_".join(_WORD.findall(cls.__name__)).lower()
    return cls


def spec_of(cls: type[Any]) -> str:
    """The spec that names this class in another process."""
    module = sys.modules[cls.__module__]
    place = module.__file__ if cls.__module__.startswith(_FILE_PREFIX) else cls.__module__
    return f"{place}:{cls.__qualname__}"


def load_file(path: Path) -> ModuleType:
    """Import a file under a name of its own, so that two files called alike stay apart and their classes pickle."""
    path = path.resolve()
    name = _name_of(path)
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise BadRequest(f"there is no Python file {path}", field="spec")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def forget(place: Path) -> dict[str, ModuleType]:
    """Drop every module whose file is `place` or lies below it, so that the next load reads it again; what was dropped,
    for who wants it back in `sys.modules`."""
    root = place.resolve()
    dropped = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and (Path(file).resolve() == root or root in Path(file).resolve().parents):
            dropped[name] = sys.modules.pop(name)
    importlib.invalidate_caches()
    return dropped


def import_fault(place: Path, error: BaseException) -> BadRequest:
    """What importing an author's file raised, as one line that names where."""
    if isinstance(error, BadRequest):
        return error
    if isinstance(error, SyntaxError) and error.filename:
        return BadRequest(f"{error.filename}:{error.lineno}: {type(error).__name__}: {error.msg}", field=str(place))
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<frozen")]
    frames = [frame for frame in frames if Path(frame.filename).parent == place.resolve().parent] or frames
    where = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else str(place)
    return BadRequest(f"{where}: {type(error).__name__}: {error}", field=str(place))


def _name_of(path: Path) -> str:
    return f"{_FILE_PREFIX}{path.stem}_{hashlib.blake2b(str(path).encode(), digest_size=6).hexdigest()}"
