"""How deep a value that was read from JSON is nested: what runs over it later gives up at some hundred levels.

Reading goes down to about a thousand levels, as far as the interpreter lets it; copying, pickling and an environment's
own code need several steps for each. So much less is allowed at the door, and nobody behind it has to mind.
"""

from __future__ import annotations

from typing import Any

import msgspec

MAX_DEPTH = 128
"""Seven times what any published row has."""


def too_deep(value: Any) -> bool:
    """Whether lists and objects lie in each other more than `MAX_DEPTH` deep; a record counts as an object."""
    if isinstance(value, msgspec.Struct):
        value = msgspec.structs.astuple(value)
    level = [value] if type(value) in (dict, list, tuple) else []
    for _ in range(MAX_DEPTH):
        if not level:
            return False
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) is dict or type(inner) is list
        ]
    return bool(level)
