"""Going on with a collection from its store: what is finished is taken, only the rest is played.

The store is the record: a rollout is in it before anybody heard of it, so a collection that was killed between the two
goes on without playing it twice. An id names one rollout for ever; one that failed is played again as `…~1`, `…~2`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from typing import Any

from gym_core.contracts import RUN_KEY, Rollout
from gym_core.store import Run, Store

Row = dict[str, Any]
_AGAIN = re.compile(r"~\d+$")


def base_of(rollout_id: str) -> str:
    """The id that a rollout was asked by first."""
    return _AGAIN.sub("", rollout_id)


async def recall(
    store: Store, requests: Mapping[str, Row], heard: Callable[[], None] = lambda: None
) -> tuple[dict[str, Rollout], dict[str, Row]]:
    """Finished rollouts by the id they were asked by first, and what is still to be played, under ids not used yet."""
    finished: dict[str, Rollout] = {}
    left: dict[str, Row] = {}
    for base, row in requests.items():
        for attempt in itertools.count():
            name = f"{base}~{attempt}" if attempt else base
            found = await store.get_stored(name, blobs=False)
            if found is None:
                left[name] = {**row, RUN_KEY: {**row[RUN_KEY], "rollout_id": name}}
                break
            if found.rollout.outcome.trainable:
                finished[base] = found.rollout
                break
        heard()
    return finished, left


async def begin(store: Store, run: Run) -> None:
    """Say that the run is under way; one that was begun before goes on."""
    if await store.run(run.run_id) is None:
        await store.create_run(run)
