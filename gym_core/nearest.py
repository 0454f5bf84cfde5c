"""What a mistyped name may have meant: one wording for every "no such thing" of ours."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], count: int = 3, cutoff: float = 0.6) -> list[str]:
    """Up to `count` known names that look like `name`, the likest first; `cutoff` 1.0 wants them equal."""
    return difflib.get_close_matches(name, list(known), n=count, cutoff=cutoff)


def hint(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """`did you mean …?`, or all that there is where nothing is near."""
    names = list(known)
    near = nearest(name, names, cutoff=cutoff)
    if near:
        return f"did you mean {', '.join(near)}?"
    return f"there are: {', '.join(sorted(names)) or 'none'}"
