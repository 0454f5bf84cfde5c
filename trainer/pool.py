"""One environment's tasks and what the curriculum knows of them, with a fingerprint that follows every change.

    fingerprint = Σ hash(record) mod 2^128 over who was used, who is dropped, and every profile with tries

A sum does not depend on the order or the history of what is in it, and a change costs what changed: a step of 128
tasks among 350,000 moves 256 of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from gym_core.contracts import TaskProfile
from gym_core.errors import BadRequest

Row = dict[str, Any]
_MODULUS = 1 << 128


class Pool:
    """Public rows by task id, their profiles, and who was drawn in this epoch; `quota` of them are drawn each step.

    What is read may be read; it is changed by the methods alone.
    """

    def __init__(self, name: str, rows: Sequence[Row], quota: int) -> None:
        self.name, self.quota = name, quota
        self.rows = {str(row["task_id"]): row for row in rows}
        if len(self.rows) < max(quota, 1):
            raise BadRequest(
                f"{name} has {len(self.rows)} distinct tasks, a step draws {quota} of them",
                field=f"environments.{name}.tasks",
                hint="raise `tasks` or lower `grpo.prompts_per_step`",
            )
        self.profiles = {
            task_id: TaskProfile(environment=name, task_id=task_id, checkpoint="", passes=0.0, count=0)
            for task_id in self.rows
        }
        self.dropped: set[str] = set()
        self.used: set[str] = set()
        self.epoch = 0
        self._used_sum = self._dropped_sum = self._learnt_sum = 0

    def pass_rate(self, task_id: str) -> float:
        return self.profiles[task_id].pass_rate

    def learn(self, profile: TaskProfile) -> None:
        """Take a task's profile in the place of the one it had."""
        old = self.profiles.get(profile.task_id)
        self.profiles[profile.task_id] = profile
        self._learnt_sum += _of_profile(profile) - (0 if old is None else _of_profile(old))

    def use(self, task_ids: Iterable[str]) -> None:
        """They are not drawn again in this epoch."""
        fresh = set(task_ids) - self.used
        self.used |= fresh
        self._used_sum += sum(_hash(task_id) for task_id in fresh)

    def begin_epoch(self) -> None:
        """All of them may be drawn again."""
        self.used, self._used_sum = set(), 0
        self.epoch += 1

    def drop(self, task_ids: Iterable[str]) -> None:
        """These are drawn no more, and all others may be."""
        self.dropped = set(task_ids)
        self._dropped_sum = sum(_hash(task_id) for task_id in self.dropped)

    def load(self, epoch: int, used: Iterable[str], dropped: Iterable[str], profiles: Iterable[TaskProfile]) -> None:
        """Stand where a saved pool stood."""
        self.begin_epoch()
        self.epoch = epoch
        self.use(used)
        self.drop(dropped)
        for profile in profiles:
            self.learn(profile)

    def fingerprint(self) -> str:
        """Of everything but the rows; a few numbers are hashed, whatever the pool holds."""
        sums = (self._used_sum % _MODULUS, self._dropped_sum % _MODULUS, self._learnt_sum % _MODULUS)
        return f"{self.name} {self.epoch} " + " ".join(f"{each:032x}" for each in sums)


def _of_profile(profile: TaskProfile) -> int:
    """0 for a task that was never tried: it is not part of a saved state."""
    if not profile.count:
        return 0
    return _hash(f"{profile.task_id}\0{profile.checkpoint}\0{float(profile.passes)!r}\0{profile.count}")


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest())
