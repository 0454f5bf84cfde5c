"""Grades stored rollouts again and compares: another verifier version, another grading. What is stored stays as it is.

    stored rollout ─▶ its row, its turns ─▶ the agent server's own player, the policy replaced by the record ─▶ verdict

So a rollout with tools is played again call by call in a session of its own, a group is judged as a group, and a judge
is asked where the environment service has one; nothing is graded in another way than it was the first time.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from typing import Any, cast

import msgspec

from agent_server.config import AgentConfig
from agent_server.directory import Directory
from agent_server.player import Player
from agent_server.policy import Policy, Turn
from gym_core.client import Client
from gym_core.contracts import Grading, Rollout, RunOptions, Task
from gym_core.errors import PalaestraError
from gym_core.store import Store, Stored

Items = list[dict[str, Any]]
UNITS = 16
"""Groups, or rollouts without one, that are graded at the same time."""

_BY_ENVIRONMENT = ("function_call_output",)


class Regraded(msgspec.Struct, kw_only=True):
    """One rollout, graded again. `reward` is None where it could not be, `error` says why. `diverged` counts tools that
    answered otherwise than they did: then the new verdict is about another course of events."""

    rollout_id: str
    environment: str
    task_id: str
    stored_version: str
    version: str = ""
    stored_reward: float
    reward: float | None = None
    stored_components: dict[str, float] = {}
    components: dict[str, float] = {}
    grading: str = ""
    diverged: int = 0
    error: str = ""

    @property
    def changed(self) -> bool:
        return self.reward is not None and self.reward != self.stored_reward


class _Record:
    """Stands in for the policy: says again what was said, turn by turn, without tokens."""

    def __init__(self, turns: list[Items], finish_reason: str) -> None:
        self._turns = iter(turns)
        self._left = len(turns)
        self._finish_reason = finish_reason

    async def turn(self, request: Any, num_previous_items: int, trace: bytes, timeout_s: float, key: str) -> Turn:
        self._left -= 1
        return Turn(next(self._turns, []), 0, 0, b"", "", self._finish_reason if self._left <= 0 else "stop", -1, -1)


def turns_of(output: Items) -> list[Items]:
    """What the policy said, cut where the environment or a simulated user spoke; at least one turn, perhaps empty."""
    turns: list[Items] = [[]]
    spoken = False
    for item in output:
        if item.get("type") in _BY_ENVIRONMENT or item.get("role") == "user":
            spoken = True
            continue
        if spoken:
            turns.append([])
            spoken = False
        turns[-1].append(item)
    return turns


class Regrader:
    """Grades through environment services; `rows` by task id serve for rollouts that were stored without one."""

    def __init__(
        self,
        clients: Mapping[str, Client],
        *,
        grading: Grading | None = None,
        rows: Mapping[str, dict[str, Any]] | None = None,
        config: AgentConfig | None = None,
    ) -> None:
        self._config = config or AgentConfig()
        self._directory = Directory(dict(clients), self._config.environment_s)
        self._grading = grading
        self._rows = rows or {}
        self._mark = secrets.token_hex(4)

    async def run(
        self, store: Store, run_id: str, environment: str | None = None, heard: Callable[[], None] = lambda: None
    ) -> list[Regraded]:
        """Every rollout of a run that has a verdict, graded again, in order of id; members of a group together."""
        units: dict[str, list[str]] = {}
        async for rollout, _ in store.iter_rollouts(run_id, environment=environment, blobs=False):
            if rollout.verdict is not None:
                units.setdefault(rollout.group_id or f"~{rollout.rollout_id}", []).append(rollout.rollout_id)
        waiting = iter(units.values())
        results: list[Regraded] = []

        async def grade_units() -> None:
            for names in waiting:
                members = [await store.get_stored(name, blobs=False) for name in names]
                found = [member for member in members if member is not None]
                results.extend(await asyncio.gather(*(self.regrade(one, len(found)) for one in found)))
                for _ in found:
                    heard()

        await asyncio.gather(*(grade_units() for _ in range(UNITS)))
        return sorted(results, key=lambda one: one.rollout_id)

    async def regrade(self, stored: Stored, group_size: int = 1) -> Regraded:
        """One rollout. Never raises for what happens to it."""
        rollout = stored.rollout
        assert rollout.verdict is not None, "a rollout without a verdict was not graded"
        result = Regraded(
            rollout_id=rollout.rollout_id,
            environment=rollout.environment,
            task_id=rollout.task_id,
            stored_version=rollout.environment_version,
            stored_reward=rollout.verdict.reward,
            stored_components=rollout.verdict.components,
            grading=(self._grading or rollout.verdict.grading).value,
        )
        row = stored.row or self._rows.get(rollout.task_id)
        if row is None:
            result.error = "its task row was not stored; give the rows with --rows FILE"
            return result
        # The version that made the row is not the one that grades it; the task's own id tells whether both agree on it.
        row = {key: value for key, value in row.items() if key != "environment_version"}
        row["environment"] = rollout.environment
        try:
            task = Task.from_row(row, rollout.environment)
        except PalaestraError as error:
            result.error = str(error.info())
            return result
        turns = turns_of(rollout.output)
        # what stands in for the policy has the one call that the player makes
        player = Player(self._config, self._directory, cast(Policy, _Record(turns, rollout.finish_reason)))
        play = await player.play(row, task, self._options(rollout, len(turns), group_size, result.grading))
        self._tell(result, rollout, play.rollout)
        return result

    def _options(self, rollout: Rollout, num_turns: int, group_size: int, grading: str) -> RunOptions:
        return RunOptions(
            rollout_id=f"{rollout.rollout_id}~{self._mark}",
            group_id=f"{rollout.group_id}~{self._mark}" if rollout.group_id else "",
            group_size=group_size,
            repeat=rollout.repeat,
            seed=rollout.seed,
            max_steps=num_turns,
            grading=Grading(grading),
        )

    @staticmethod
    def _tell(result: Regraded, stored: Rollout, played: Rollout) -> None:
        result.version = played.environment_version
        result.diverged = sum(a != b for a, b in zip(_answers(stored), _answers(played), strict=False))
        if played.verdict is not None:
            result.reward, result.components = played.verdict.reward, played.verdict.components
        elif played.error is not None:
            result.error = str(played.error)
        else:
            result.error = f"it ended as {played.outcome.value}"

    async def close(self) -> None:
        await self._directory.close()


def _answers(rollout: Rollout) -> list[Any]:
    return [item.get("output") for item in rollout.output if item.get("type") in _BY_ENVIRONMENT]


def summary(results: list[Regraded]) -> dict[str, Any]:
    """By environment: how many were graded, their mean reward before and after, how many went up and down."""
    told: dict[str, Any] = {}
    for name in sorted({one.environment for one in results}):
        mine = [one for one in results if one.environment == name]
        graded = [(one.stored_reward, one.reward) for one in mine if one.reward is not None]
        told[name] = {
            "rollouts": len(mine),
            "graded": len(graded),
            "stored_reward": sum(before for before, _ in graded) / len(graded) if graded else None,
            "reward": sum(after for _, after in graded) / len(graded) if graded else None,
            "better": sum(after > before for before, after in graded),
            "worse": sum(after < before for before, after in graded),
            "diverged": sum(one.diverged > 0 for one in mine),
            "failed": len(mine) - len(graded),
        }
    return told
