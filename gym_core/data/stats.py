"""What is in files of rows: environments, levels, lengths, duplicates; and which prompts two files share.

Two prompts are the same when their normalised text is; a prompt is near another file's when at least half of its sketch
(`gym_core.data.prompts`) occurs there. Per row a few numbers are kept, never its text.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gym_core.data.ingest import routed
from gym_core.data.lines import read_lines
from gym_core.data.prompts import digest, normalised, prompt_text, sketch
from gym_core.errors import PalaestraError

QUANTILES = {"min": 0.0, "p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}


@dataclass(slots=True)
class FileStats:
    """One file. `lengths` are characters of each prompt; `bad_lines` are no JSON objects, or ask nothing."""

    path: Path
    rows: int = 0
    environments: Counter[str] = field(default_factory=Counter)
    levels: dict[str, Counter[str]] = field(default_factory=dict)
    splits: Counter[str] = field(default_factory=Counter)
    lengths: array[int] = field(default_factory=lambda: array("L"))
    bad_lines: list[int] = field(default_factory=list)
    placeholders: int = 0
    duplicates: int = 0
    prompts: set[int] = field(default_factory=set)
    sketches: dict[int, tuple[int, ...]] = field(default_factory=dict)

    def report(self) -> dict[str, Any]:
        return {
            "file": str(self.path),
            "rows": self.rows,
            "environments": {
                name: {"rows": count, "levels": dict(sorted(self.levels.get(name, Counter()).items()))}
                for name, count in self.environments.most_common()
            },
            "splits": dict(self.splits),
            "prompt_characters": quantiles(self.lengths),
            "distinct_prompts": len(self.prompts),
            "duplicates": self.duplicates,
            "placeholders": self.placeholders,
            "bad_lines": self.bad_lines,
        }


def quantiles(values: array[int]) -> dict[str, int]:
    """Nearest-rank quantiles; nothing of nothing."""
    ordered = sorted(values)
    return {name: ordered[round(share * (len(ordered) - 1))] for name, share in QUANTILES.items()} if ordered else {}


def look(
    path: Path,
    *,
    name_of: Callable[[str], str] = lambda name: name,
    near: bool = False,
    on_bytes: Callable[[int], Any] = lambda _: None,
) -> FileStats:
    """Read a file once. `name_of` turns an alias into an environment's name; `near` keeps sketches for `shared`."""
    stats = FileStats(path)
    for line in read_lines(path):
        stats.rows += 1
        if stats.rows % 256 == 0:
            on_bytes(line.offset)
        try:
            row = line.row()
        except PalaestraError:
            stats.bad_lines.append(line.number)
            continue
        _count(stats, row, line.number, name_of, near)
    return stats


def _count(stats: FileStats, row: dict[str, Any], number: int, name_of: Callable[[str], str], near: bool) -> None:
    name = name_of(routed(row)) or "(not named)"
    stats.environments[name] += 1
    ref = row.get("task_ref")
    if isinstance(ref, dict):
        stats.levels.setdefault(name, Counter())[str(ref.get("level"))] += 1
        stats.splits[str(ref.get("split", "train"))] += 1
    if row.get("_hf_placeholder") is not None:
        stats.placeholders += 1
        return
    text = prompt_text(row)
    if not text:
        stats.bad_lines.append(number)
        return
    stats.lengths.append(len(text))
    plain = normalised(text)
    identity = digest(plain)
    if identity in stats.prompts:
        stats.duplicates += 1
        return
    stats.prompts.add(identity)
    if near:
        stats.sketches[identity] = sketch(plain)


def shared(first: FileStats, second: FileStats) -> dict[str, Any]:
    """How many distinct prompts of `second` are in `first`, exactly and nearly."""
    same = len(first.prompts & second.prompts)
    runs = {value for kept in first.sketches.values() for value in kept}
    close = sum(
        2 * sum(value in runs for value in kept) >= len(kept)
        for identity, kept in second.sketches.items()
        if kept and identity not in first.prompts
    )
    return {
        "file": str(second.path),
        "in": str(first.path),
        "prompts": len(second.prompts),
        "same": same,
        "near": close,
    }
