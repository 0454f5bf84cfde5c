"""Many scored rollouts as a few numbers, under the names that NeMo Gym's `/aggregate_metrics` gives them.

    rollouts ─▶ masked ones set aside ─▶ mean, max, min, median, std of every number: per task, overall, per repeat
             └─▶ pass@k where every reward is 0 or 1 (Chen et al. 2021, arXiv 2107.03374, eq. 1), in percent

A rollout is a JSON object: `reward`, `_ng_task_index`, `_ng_rollout_index`, any numbers beside them, `response.usage`.
One without a reward, or with `mask_sample`, is counted under `coverage/…` and averaged nowhere.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

TASK = "_ng_task_index"
REPEAT = "_ng_rollout_index"
LARGEST = 1e150
_FLAGS = frozenset({"mask_sample"})
_STATS: dict[str, Callable[[Sequence[float]], float]] = {
    "mean": statistics.fmean,
    "max": max,
    "min": min,
    "median": statistics.median,
    "std": lambda values: statistics.stdev(values) if len(values) > 1 else 0.0,
}

Entry = dict[str, Any]


def aggregate(rollouts: Sequence[Entry]) -> dict[str, Any]:
    """`agent_metrics` (overall), `key_metrics` (the means), `group_level_metrics` (one per task) and
    `repeat_level_metrics` (one per repeat, where there are several)."""
    scored = [rollout for rollout in rollouts if _measured(rollout)]
    coverage = _coverage(rollouts, scored)
    overall: Entry = {}
    if scored:
        overall = {**_stats(scored), **_pass_at_k(scored)}
        overall["num_repeats"] = len({_index(rollout, REPEAT) for rollout in rollouts})
    overall.update(coverage)
    return {
        "group_level_metrics": [_group(task, members) for task, members in _by(scored, TASK)],
        "agent_metrics": overall,
        "key_metrics": {**{name: value for name, value in overall.items() if name.startswith("mean/")}, **coverage},
        "repeat_level_metrics": _repeats(scored),
    }


def _measured(rollout: Entry) -> bool:
    return not rollout.get("mask_sample") and _number(rollout.get("reward")) is not None


def _coverage(rollouts: Sequence[Entry], scored: Sequence[Entry]) -> Entry:
    """How much of the run was measured; empty where all of it was."""
    if len(scored) == len(rollouts):
        return {}
    return {
        "coverage/measured_rollouts": len(scored),
        "coverage/masked_rollouts": len(rollouts) - len(scored),
        "coverage/measured_tasks": len({_index(rollout, TASK) for rollout in scored}),
        "coverage/total_tasks": len({_index(rollout, TASK) for rollout in rollouts}),
    }


def _group(task: int, members: Sequence[Entry]) -> Entry:
    infos = [
        {"rollout_id": f"{task}:{_index(member, REPEAT)}", REPEAT: _index(member, REPEAT), "reward": member["reward"]}
        for member in members
    ]
    return {TASK: task, **_stats(members), "num_rollouts": len(members), "rollout_infos": infos}


def _repeats(scored: Sequence[Entry]) -> list[Entry]:
    """One entry per repeat; a single repeat has nothing to be compared with."""
    by_repeat = _by(scored, REPEAT)
    if len(by_repeat) < 2:
        return []
    num_tasks = len({_index(rollout, TASK) for rollout in scored})
    return [
        {REPEAT: repeat, "sample_count": len(members), "missing_count": num_tasks - len(members), **_stats(members)}
        for repeat, members in by_repeat
    ]


def _by(rollouts: Iterable[Entry], key: str) -> list[tuple[int, list[Entry]]]:
    found: dict[int, list[Entry]] = {}
    for rollout in rollouts:
        found.setdefault(_index(rollout, key), []).append(rollout)
    return sorted(found.items())


def _index(rollout: Entry, key: str) -> int:
    value = rollout.get(key, 0)
    return value if isinstance(value, int) else 0


def _stats(rollouts: Sequence[Entry]) -> Entry:
    """`mean/reward`, `max/reward`, …: of each field the rollouts that have it as a number."""
    columns: dict[str, list[float]] = {}
    for rollout in rollouts:
        for name, value in _numbers(rollout).items():
            columns.setdefault(name, []).append(value)
    return {f"{stat}/{name}": of(values) for name, values in columns.items() for stat, of in _STATS.items()}


def _numbers(rollout: Entry) -> dict[str, float]:
    response = rollout.get("response")
    usage = response.get("usage") if isinstance(response, dict) else None
    fields = {**rollout, **(usage if isinstance(usage, dict) else {})}
    kept = ((name, _number(value)) for name, value in fields.items() if name[:1] != "_" and name not in _FLAGS)
    return {name: value for name, value in kept if value is not None}


def _number(value: Any) -> float | None:
    """A number, a bool as 0 or 1; None for anything else, and for what is too large to be squared."""
    return float(value) if isinstance(value, int | float) and abs(value) < LARGEST else None


def _pass_at_k(scored: Sequence[Entry]) -> Entry:
    """Mean over tasks of 1 − C(n−c, k) / C(n, k) for each k up to the smallest n, in percent."""
    if any(rollout["reward"] not in (0, 1) for rollout in scored):
        return {}
    counts = [(len(members), sum(member["reward"] == 1 for member in members)) for _, members in _by(scored, TASK)]
    found: Entry = {}
    most = min(n for n, _ in counts)
    for k in range(1, most + 1):
        solved = statistics.fmean(1.0 - math.comb(n - c, k) / math.comb(n, k) for n, c in counts)
        found[f"pass@{k}/accuracy"] = 100.0 * solved
    found[f"pass@1[avg-of-{most}]/accuracy"] = 100.0 * statistics.fmean(c / n for n, c in counts)
    return found
