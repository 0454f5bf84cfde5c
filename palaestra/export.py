"""A stored run as a file for others: JSON lines, or Parquet. The file appears whole or not at all.

A line is the task row with everything of the rollout beside it, `reward` (null without a verdict) and `response`, in
the shape of `palaestra run`; with tokens, `traces` carries ids, log-probabilities and the loss mask of each trace.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from gym_core.errors import BadRequest
from gym_core.store import Stored, StoreFault

FORMATS = ("jsonl", "parquet")
_BATCH = 512
_NUMBERS = ("group_size", "repeat", "seed", "step", "policy_version_min", "policy_version_max", "contract_version")
_LIMIT = 1 << 63
_JSON = ("row", "verdict", "error", "output", "labels", "timings_ms", "usage")
"""Columns of a Parquet file that hold JSON text: what is in them differs from environment to environment."""


def export_line(stored: Stored, tokens: bool) -> dict[str, Any]:
    """One line of JSON."""
    told: dict[str, Any] = msgspec.to_builtins(stored.rollout)
    output = told.pop("output")
    line = {**(stored.row or {}), **told, "reward": stored.rollout.reward}
    line["response"] = {"object": "response", "output": output, "usage": told["usage"]}
    if tokens:
        line["traces"] = _traces(stored)
    return line


def _traces(stored: Stored) -> list[dict[str, Any]]:
    """Each trace with its tokens. Raises `StoreFault` where the blob is no trace."""
    from gym_core.tokens import decode_trace

    traces = []
    for info in stored.rollout.traces:
        try:
            trace = decode_trace(stored.blob[info.offset : info.offset + info.num_bytes])
        except ValueError as error:
            raise StoreFault(f"the tokens of {stored.rollout.rollout_id} cannot be read: {error}") from None
        traces.append(
            {
                **msgspec.to_builtins(info),
                "token_ids": trace.token_ids.tolist(),
                "logprobs": trace.logprobs.tolist(),
                "loss_mask": trace.loss_mask.tolist(),
            }
        )
    return traces


async def export(
    rollouts: AsyncIterator[Stored], path: Path, kind: str, tokens: bool, heard: Callable[[], None]
) -> int:
    """Write `path`; how many rollouts it holds. Raises `BadRequest` where it cannot be written."""
    count = 0
    with _whole(path) as partial:
        writer = _Lines(partial) if kind == "jsonl" else _Parquet(partial)
        try:
            async for stored in rollouts:
                writer.add(stored, tokens)
                count += 1
                heard()
        finally:
            writer.close()
    return count


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A file beside `path` that takes its place at the end; gone when anything fails."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        raise BadRequest(f"{path} cannot be written: {error.strerror}", field="output") from None
    finally:
        partial.unlink(missing_ok=True)


class _Lines:
    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def add(self, stored: Stored, tokens: bool) -> None:
        self._file.write(msgspec.json.encode(export_line(stored, tokens)) + b"\n")

    def close(self) -> None:
        self._file.close()


class _Parquet:
    """Row groups of `_BATCH` rollouts, compressed with zstd."""

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ModuleNotFoundError:
            raise BadRequest(
                "Parquet needs pyarrow", field="format", hint="pip install 'palaestra[parquet]', or --format jsonl"
            ) from None
        self._arrow = pyarrow
        self._schema = _schema(pyarrow)
        self._writer = pyarrow.parquet.ParquetWriter(path, self._schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []

    def add(self, stored: Stored, tokens: bool) -> None:
        told: dict[str, Any] = msgspec.to_builtins(stored.rollout)
        told = {**told, "row": stored.row, "reward": stored.rollout.reward}
        for name in _JSON:
            told[name] = None if told[name] is None else msgspec.json.encode(told[name]).decode()
        told["traces"] = _traces(stored) if tokens else told["traces"]
        self._rows.append(told)
        if len(self._rows) >= _BATCH:
            self._flush()

    def _flush(self) -> None:
        rows, self._rows = self._rows, []
        if not rows:
            return
        try:
            table = self._arrow.Table.from_pylist(rows, schema=self._schema)
        except OverflowError:
            large = next(
                row["rollout_id"] for row in rows if any(not -_LIMIT <= row[name] < _LIMIT for name in _NUMBERS)
            )
            raise BadRequest(
                f"rollout {large!r} has a number of more than 64 bits, and Parquet has none",
                field="format",
                hint="--format jsonl",
            ) from None
        self._writer.write_table(table)

    def close(self) -> None:
        self._flush()
        self._writer.close()


def _schema(arrow: Any) -> Any:
    text, whole, real = arrow.string(), arrow.int64(), arrow.float64()
    trace = arrow.struct(
        [
            *((name, whole) for name in ("offset", "num_bytes", "num_tokens", "num_trainable")),
            ("began", text),
            ("token_ids", arrow.list_(arrow.int32())),
            ("logprobs", arrow.list_(arrow.float32())),
            ("loss_mask", arrow.list_(arrow.bool_())),
        ]
    )
    texts = ("rollout_id", "run_id", "environment", "environment_version", "task_id", "group_id", "outcome")
    return arrow.schema(
        [
            *((name, text) for name in texts),
            ("reward", real),
            *((name, whole) for name in _NUMBERS),
            ("finish_reason", text),
            ("created_at", real),
            *((name, text) for name in _JSON),
            ("traces", arrow.list_(trace)),
        ]
    )
