"""Rollouts from the agent server: rows out, a stream of frames back, groups of opened traces at the end.

A group is known by the id we gave it, never inferred. A member that failed is kept with its outcome and counted, but
it has no reward and no sample: it is dropped, not retried and not scored. One that the agent server's store refused is
left out of its group, as if it had never come: a resumed run could not find it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from gym_core.client import Client
from gym_core.contracts import RUN_KEY, Rollout, RunOptions, Sampling
from gym_core.errors import PalaestraError, PolicyFault, RemoteError
from gym_core.seeds import derive
from trainer.played import Played, PlayedGroup, open_frame
from trainer.recall import Recall, recall

Row = dict[str, Any]

STAGE = "collect"
"""Stage of every error that left here: nothing was trained yet."""

GRACE_S = 10.0
"""Beyond a rollout's own deadline, how long the stream may stay silent before the agent server counts as gone."""


class AgentPool:
    """Plays rows on an agent server. `deadline_s` bounds each rollout there, and the stream here.

    `streams` at once, each with its share of the rows: one for every server that the client's address stands for.
    """

    def __init__(
        self,
        client: Client,
        *,
        run_id: str,
        seed: int,
        deadline_s: float = 300.0,
        stream_timeout_s: float = 600.0,
        streams: int = 1,
    ) -> None:
        self._client = client
        self._run_id, self._seed = run_id, seed
        self._deadline_s, self._stream_timeout_s = deadline_s, stream_timeout_s
        self._streams = streams

    async def run(
        self,
        rows: Sequence[Row],
        *,
        repeats: int,
        step: int,
        sampling: Sampling,
        purpose: str = "train",
        seed_step: int | None = None,
        recalled: Recall | None = None,
    ) -> list[PlayedGroup]:
        """Play each row `repeats` times. Groups come in the order of `rows`, members in the order of repeats.

        Seeds and ids follow from (run, purpose, step, row, repeat), so asking again gives the same rollouts;
        `seed_step` replaces the step in the seeds alone, for draws that shall be alike at every step.
        With `recalled`, what the agent server's store already has of this step is taken from there.
        Raises the client's typed errors when the agent server is away, PolicyFault when not one rollout was scored.
        """
        groups: dict[str, PlayedGroup] = {}
        asked: list[Row] = []
        for number, row in enumerate(rows):
            group_id = f"{self._run_id}/{purpose}/{step}/{number}"
            groups[group_id] = PlayedGroup(group_id, str(row["task_id"]), str(row["environment"]))
            for repeat in range(repeats):
                options = RunOptions(
                    rollout_id=f"{group_id}/{repeat}",
                    run_id=self._run_id,
                    group_id=group_id,
                    group_size=repeats,
                    repeat=repeat,
                    seed=derive(self._seed, purpose, step if seed_step is None else seed_step, number, repeat),
                    step=step,
                    deadline_s=self._deadline_s,
                    sampling=sampling,
                    labels={"purpose": purpose},
                )
                asked.append({**row, RUN_KEY: msgspec.to_builtins(options)})
        answers = [one for one in await self._play(asked, recalled) if one.rollout.group_id in groups]
        for played in answers:
            if played.rollout.kept:
                groups[played.rollout.group_id].members.append(played)
        for group in groups.values():
            group.members.sort(key=lambda member: member.rollout.repeat)
        _refuse_total_failure([played.rollout for played in answers], len(rows) * repeats)
        return list(groups.values())

    async def _play(self, rows: list[Row], recalled: Recall | None) -> list[Played]:
        """Recall what can be, play the rest. Every error that leaves here says that nothing was trained yet."""
        try:
            found, rows = await recall(self._client, rows, recalled) if recalled else ([], rows)
            return found + await self._shared_out(rows)
        except PalaestraError as error:
            error.stage = STAGE
            raise
        except ValueError as error:
            raise RemoteError(f"the agent server's frame is no rollout: {error}", stage=STAGE, server="agent") from None

    async def _shared_out(self, rows: list[Row]) -> list[Played]:
        """When one stream fails the others are left, which takes their rollouts back."""
        shares = [rows[number :: self._streams] for number in range(min(self._streams, len(rows)))]
        streams = [asyncio.create_task(self._stream(share)) for share in shares]
        try:
            return [played for share in await asyncio.gather(*streams) for played in share]
        finally:
            for stream in streams:
                stream.cancel()
            await asyncio.gather(*streams, return_exceptions=True)

    async def _stream(self, rows: list[Row]) -> list[Played]:
        frames = self._client.stream(
            "/rollouts", {"rows": rows}, timeout_s=self._stream_timeout_s, idle_s=self._deadline_s + GRACE_S
        )
        async with aclosing(frames):
            return [open_frame(head, blob) async for head, blob in frames]


def _refuse_total_failure(members: list[Rollout], num_asked: int) -> None:
    if num_asked == 0 or any(rollout.outcome.trainable for rollout in members):
        return
    errors = [rollout.error for rollout in members if rollout.error is not None]
    raise PolicyFault(
        f"none of {num_asked} rollouts was scored" + (f"; the first says: {errors[0]}" if errors else ""),
        stage=STAGE,
        server="trainer",
        hint="look at the agent server's log and at the policy server's /healthz",
    )
