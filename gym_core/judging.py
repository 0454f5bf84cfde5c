"""After `verify`: the author's `judge`, on the service's loop, where a judge is configured and the author wrote one.

    verify (in a worker where there is one) ─▶ judge(task, session, reply, verdict, judge) ─▶ verdict with its account

A judge that fails, or is too late, is a `JudgeFault`: the rollout ends as `judge_error`, without a reward.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from numbers import Real
from typing import Any

from gym_core.contracts import Task, Verdict
from gym_core.environment import Environment, GroupEntry, Session
from gym_core.errors import EnvironmentFault, JudgeFault
from gym_core.host import Host
from gym_core.judge.client import JudgeClient, not_configured
from gym_core.judge.judge import Judge
from gym_core.reply import read_reply

REPLY_S = 0.25
"""Kept back from a caller's deadline, so that it hears what went wrong instead of nothing."""


class Judging:
    """The judge stage of one environment."""

    def __init__(self, environment: Environment, client: JudgeClient | None) -> None:
        self._environment = environment
        self._host = Host(environment)
        self._client = client if client is not None and client.config.configured else None
        method = "judge_group" if self._host.judges_groups else "judge"
        self.active = self._client is not None and environment.overrides(method)

    def require(self, task: Task | None = None) -> None:
        """Raises `JudgeFault` where the environment, or this task, cannot do without a judge and there is none."""
        if self._client is not None:
            return
        if self._environment.needs_judge or (task is not None and self._environment.judge_decides(task)):
            what = "" if self._environment.needs_judge else f" for task {task.task_id if task else ''}"
            raise not_configured(f"environment {self._environment.name!r} needs a judge{what}, and none is configured")

    async def verdict(
        self, task: Task, session: Session | None, output: list[dict[str, Any]], verdict: Verdict, left_s: float | None
    ) -> Verdict:
        """The verdict after the author's `judge`, within `left_s` seconds where the caller has a deadline."""
        session = session or Session(session_id="", task=task)
        async with self._asking(left_s) as judge:
            said = await self._environment.judge(task, session, read_reply(output), verdict, judge)
            ruled = self._ruled(said, verdict, task)
        if judge.account.used:
            ruled.details["judge"] = judge.account.details()
        return ruled

    async def group(self, entries: list[GroupEntry], verdicts: list[Verdict]) -> list[Verdict | JudgeFault]:
        """The verdicts of a group after the author's `judge_group`; each carries the account of the whole group."""
        async with self._asking(None) as judge:
            said = await self._environment.judge_group(entries, verdicts, judge)
            if not isinstance(said, list) or len(said) != len(verdicts):
                raise EnvironmentFault(f"`judge_group` must return {len(verdicts)} verdicts in a list", stage="judge")
            ruled = [
                one if isinstance(one, JudgeFault) else self._ruled(one, verdict, entry.task)
                for one, verdict, entry in zip(said, verdicts, entries, strict=True)
            ]
        if judge.account.used:
            for one in ruled:
                if isinstance(one, Verdict):
                    one.details["judge"] = judge.account.details()
        return ruled

    def _ruled(self, said: Any, before: Verdict, task: Task) -> Verdict:
        """What the author's method returned, as a verdict of the same grading; a number replaces the reward only.

        Where the judge decides, a reward under the other grading was never given, and none is told.
        """
        if isinstance(said, Real):
            said = Verdict(reward=float(said), components=before.components, details=before.details)
        ruled = self._host.judge(said, before.grading)
        ruled.grading = before.grading
        others = {} if self._environment.judge_decides(task) else before.gradings
        ruled.gradings = {**others, before.grading: ruled.reward}
        return ruled

    @asynccontextmanager
    async def _asking(self, left_s: float | None) -> AsyncIterator[Judge]:
        assert self._client is not None
        limit_s = self._client.config.deadline_s if left_s is None else max(0.0, left_s - REPLY_S)
        try:
            async with asyncio.timeout(limit_s):
                yield self._client.judge(limit_s)
        except TimeoutError:
            raise JudgeFault(f"the verdict was not judged within {limit_s:.3g} s", stage="judge") from None
