"""Playing recorded calls on a fresh desk, as both verdicts need it.

Calls that cannot be read, name no tool or fail change nothing and are passed over, as in the public verifier. Read-only
calls are passed over too: they cannot change a table.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from environments.workplace.desk import Desk, World
from environments.workplace.toolbox import READ_ONLY, TOOLS, run

Calls = tuple[tuple[str, str], ...]
MAX_CALLS = 500
"""Calls of a reply that are replayed; a rollout has far fewer."""


def replayed(world: World, calls: Iterable[tuple[str, Any]], *, fixed_keys: bool) -> Desk:
    """A desk after these (name, arguments as JSON text) calls; the caller closes it.

    `fixed_keys` False is the public verifier's way: primary keys may change, nulls are passed on.
    """
    desk = Desk(world, fixed_keys=fixed_keys)
    for number, (name, text) in enumerate(calls):
        if number >= MAX_CALLS:
            break
        arguments = read_arguments(text)
        if name in TOOLS and name not in READ_ONLY and arguments is not None:
            run(desk, name, arguments, keep_nulls=not fixed_keys)
    return desk


def frozen(calls: Iterable[tuple[str, Any]]) -> Calls:
    """The same calls as a key: what is no text has no effect, so it may go."""
    return tuple((name, text if isinstance(text, str) else "") for name, text in calls)


def read_arguments(text: Any) -> dict[str, Any] | None:
    """The arguments of a call, None where they are no JSON object."""
    if not isinstance(text, str):
        return None
    try:
        arguments = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return arguments if isinstance(arguments, dict) else None
