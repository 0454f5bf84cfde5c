"""A rollout on its way in: checked so that it can be read back, and cut into the columns of its row."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from gym_core.contracts import Rollout
from gym_core.errors import BadRequest
from gym_core.store.writer import Put

_encoder = msgspec.json.Encoder()
_NAMES = ("rollout_id", "run_id", "environment", "task_id", "group_id")
_MAX_STEP = 1 << 63


def make_entry(rollout: Rollout, blob: bytes, row: Mapping[str, Any] | None) -> Put:
    """What the writer inserts. Raises `BadRequest` for what could not be read back, naming the field."""
    _check(rollout)
    task = None if row is None else _task(row)
    columns = {
        "rollout_id": rollout.rollout_id,
        "run_id": rollout.run_id,
        "environment": rollout.environment,
        "task_id": rollout.task_id,
        "group_id": rollout.group_id,
        "step": rollout.step,
        "outcome": rollout.outcome.value,
        "reward": rollout.reward,
        "created_at": rollout.created_at or time.time(),
        "record": _json(rollout, "rollout"),
        "task_key": "" if task is None else task["task_key"],
    }
    return Put(columns, bytes(blob), task)


def _task(row: Mapping[str, Any]) -> dict[str, str]:
    text = _json(row, "row")
    return {"task_key": hashlib.blake2b(text.encode(), digest_size=16).hexdigest(), "row": text}


def _json(value: Any, field: str) -> str:
    try:
        return _encoder.encode(value).decode()
    except (TypeError, ValueError, OverflowError) as error:  # half a surrogate pair, or what is no plain data
        raise BadRequest(f"cannot be stored as JSON: {error}", field=field) from None


def _check(rollout: Rollout) -> None:
    """JSON has no NaN: what is not finite would come back as null and could not be read. PostgreSQL has no NUL."""
    if not rollout.rollout_id:
        raise BadRequest("a rollout needs an id to be stored", field="rollout_id")
    for name in _NAMES:
        if "\0" in getattr(rollout, name):
            raise BadRequest("a name has no NUL character", field=name)
    if not -_MAX_STEP <= rollout.step < _MAX_STEP:
        raise BadRequest(f"a step has 64 bits, unlike {rollout.step}", field="step")
    groups: list[tuple[str, Mapping[str, float]]] = [("timings_ms", rollout.timings_ms)]
    if rollout.verdict is not None:
        verdict = rollout.verdict
        groups += [("verdict", {"reward": verdict.reward}), ("verdict.components", verdict.components)]
        groups += [("verdict.gradings", verdict.gradings)]
    for path, values in groups:
        for name, value in values.items():
            if not math.isfinite(value):
                raise BadRequest(f"a stored number must be finite, not {value}", field=f"{path}.{name}")
