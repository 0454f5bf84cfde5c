"""Rows of several sources in fixed proportions, so that any batch cut from the result holds them too.

Part i has the share s_i of all weights. Row t goes to the part that lags furthest behind, argmax_i s_i (t + 1) - n_i
with n_i rows taken so far, so that every prefix holds each part to within a row or so (the quota method of
apportionment); rows are then shuffled inside windows. Everything follows from the seed. Rows of a file come without
replacement, once per epoch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import Any

from gym_core.data.recipe import Blend, Part
from gym_core.data.sources import Source
from gym_core.errors import BadRequest
from gym_core.seeds import rng

Row = dict[str, Any]


@dataclass(slots=True, frozen=True)
class Filled:
    """A part of a recipe with the source that fills it."""

    part: Part
    source: Source


def turns(weights: Sequence[float]) -> Iterator[int]:
    """Whose turn it is, row by row, without end."""
    total = sum(weights)
    shares = [weight / total for weight in weights]
    lag = [0.0] * len(shares)
    while True:
        lag = [behind + share for behind, share in zip(lag, shares, strict=True)]
        chosen = max(range(len(lag)), key=lag.__getitem__)
        lag[chosen] -= 1.0
        yield chosen


def size_of(filled: Sequence[Filled], wanted: int) -> int:
    """How many rows the blend has: `wanted`, or with 0 as many as its files allow.

    Raises `BadRequest` where a file has too few for what is wanted, or nothing bounds the blend.
    """
    limits = [each.source.available for each in filled]
    if not wanted and all(limit is None for limit in limits):
        raise BadRequest(
            "every part of this blend is generated: say how many rows it has", field="rows", hint="--rows 10000"
        )
    taken = [0] * len(filled)
    for row, turn in enumerate(turns([each.part.weight for each in filled])):
        limit = limits[turn]
        if row == wanted and wanted:
            break
        if limit is not None and taken[turn] == limit and not wanted:
            return row
        taken[turn] += 1
    for each, need, limit in zip(filled, taken, limits, strict=True):
        if limit is not None and need > limit:
            raise BadRequest(
                f"part {each.part.name!r} has {limit} rows, {wanted} rows of this blend need {need} of it",
                field="rows",
                hint="ask for fewer rows, or let files return: a higher `epochs`",
            )
    return wanted


def blend_rows(filled: Sequence[Filled], *, rows: int, seed: int, window: int) -> Iterator[tuple[str, Row]]:
    """`rows` rows with the names of their parts. Raises what a source raises."""
    with ExitStack() as stack:
        for each in filled:
            stack.enter_context(each.source.opened())
        streams = [each.source.rows(seed) for each in filled]
        order = turns([each.part.weight for each in filled])
        for start in range(0, rows, window):
            chosen = list(islice(order, min(window, rows - start)))
            rng("blend", seed, "window", start).shuffle(chosen)
            for turn in chosen:
                yield filled[turn].part.name, named(next(streams[turn]), filled[turn].part)


def named(row: Row, part: Part) -> Row:
    """The row with its part as `dataset` and its part's environment, where it names none itself."""
    extra = {"dataset": part.name} if row.get("dataset") is None else {}
    if part.environment and not any(row.get(key) for key in ("environment", "agent_ref")):
        extra["environment"] = part.environment
    return {**row, **extra}


def shares(blend: Blend, taken: Counter[str]) -> list[dict[str, Any]]:
    """What each part was to have and has, for people."""
    total, weights = sum(taken.values()), sum(part.weight for part in blend.part)
    return [
        {
            "part": part.name,
            "rows": taken[part.name],
            "share": round(taken[part.name] / total, 4) if total else 0.0,
            "wanted": round(part.weight / weights, 4),
        }
        for part in blend.part
    ]
