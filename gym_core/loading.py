"""From a spec string to a class, the same way in the service and in its workers.

A spec is `package.module:Class`, or `/path/to/environment.py:Class` for code that is not installed.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from gym_core.errors import BadRequest

_FILE_PREFIX = "palaestra_file_"


def load_class(spec: str) -> type[Any]:
    """Import the class that a spec names. Raises `BadRequest` where it is missing; import errors pass through."""
    module_name, _, class_name = spec.rpartition(":")
    if not module_name or not class_name:
        raise BadRequest(f"a spec looks like 'package.module:Class', not {spec!r}", field="spec")
    module = load_file(Path(module_name)) if module_name.endswith(".py") else importlib.import_module(module_name)
    found = getattr(module, class_name, None)
    if not isinstance(found, type):
        raise BadRequest(f"{module_name} has no class {class_name!r}", field="spec")
    return found


def spec_of(cls: type[Any]) -> str:
    """The spec that names this class in another process."""
    module = sys.modules[cls.__module__]
    place = module.__file__ if cls.__module__.startswith(_FILE_PREFIX) else cls.__module__
    return f"{place}:{cls.__qualname__}"


def load_file(path: Path) -> ModuleType:
    """Import a file under a name of its own, so that two files called alike stay apart and their classes pickle."""
    path = path.resolve()
    name = f"{_FILE_PREFIX}{path.stem}_{hashlib.blake2b(str(path).encode(), digest_size=6).hexdigest()}"
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
