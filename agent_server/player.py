"""The rollout: seed a session, let the policy and the tools take turns within bounds, ask for the verdict.

    seed ─▶ conversation [ generate ─▶ tools ─▶ user ]* ─▶ verify ─▶ close ─▶ store

Each arrow is a stage; whatever fails becomes the rollout's outcome with the stage that failed and why. A failure never
becomes a reward, and a session is closed on every way out.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import msgspec

from agent_server.breaker import Breaker
from agent_server.config import AgentConfig
from agent_server.conversation import Conversation
from agent_server.directory import Directory, EnvironmentPeer
from agent_server.metrics import AgentMetrics
from agent_server.play import Play, Timed
from agent_server.policy import Policy
from agent_server.traces import TraceBook
from gym_core import headers, telemetry, tracing
from gym_core.contracts import NOT_KEPT, RUN_KEY, Outcome, PendingVerdict, Rollout, RunOptions, Task, Verdict
from gym_core.errors import Cancelled, DeadlineExceeded, EnvironmentFault, JudgeFault, PalaestraError

SERVER = "agent"
log = telemetry.logger(SERVER)
CLOSE_TIMEOUT_S = 5.0
GROUP_WAIT_S = 20.0
_VERDICT_AND_CLOSE = f"{headers.MINIMAL}, {headers.CLOSE}"


class _VerdictReply(msgspec.Struct):
    verdict: Verdict | None = None
    pending: PendingVerdict | None = None


class Player:
    """Plays rollouts; holds no state of its own between them."""

    def __init__(
        self, config: AgentConfig, directory: Directory, policy: Policy, metrics: AgentMetrics | None = None
    ) -> None:
        self._config = config
        self._directory = directory
        self._policy = policy
        self.breakers = {
            name: Breaker(name, config.breaker_failures, config.breaker_rest_s) for name in directory.names
        }
        self._metrics = metrics

    async def play(self, row: dict[str, Any], task: Task, options: RunOptions) -> Play:
        """Play a task to its outcome. Never raises for what happens to the rollout; only for a bug of ours."""
        play = Play(task, row, options, _new_rollout(task, options), metrics=self._metrics)
        rollout = play.rollout
        began = time.perf_counter()
        try:
            about = {"palaestra.rollout_id": options.rollout_id, "palaestra.environment": task.environment}
            with tracing.span("rollout", **about):
                async with asyncio.timeout(min(options.deadline_s, self._config.max_deadline_s)):
                    await self._play(play)
            rollout.outcome = Outcome.TRUNCATED if play.truncated else Outcome.SCORED
        except TimeoutError:
            self._fail(play, DeadlineExceeded(f"the rollout was still at {play.stage!r} after {options.deadline_s} s"))
        except PalaestraError as error:
            self._fail(play, error)
        except asyncio.CancelledError:
            self._fail(play, Cancelled("the rollout was taken back"))
        except Exception as error:  # the boundary of a rollout: a bug of ours must not end the batch it is in
            log.exception("a rollout failed in a way that nobody foresaw")
            self._fail(play, PalaestraError(f"the agent server failed: {type(error).__name__}"))
        finally:
            if play.breaker is not None:
                play.breaker.leave(play.probe, play.environment_well)
            await self._close(play)
        rollout.usage = play.usage
        rollout.timings_ms["total"] = round(1000 * (time.perf_counter() - began), 3)
        rollout.traces, play.blob = play.book.finish()
        return play

    def taken_back(self, row: dict[str, Any], task: Task, options: RunOptions) -> Play:
        """The record of a rollout that was taken back before it began."""
        play = Play(task, row, options, _new_rollout(task, options))
        self._fail(play, Cancelled("the rollout was taken back before it began"))
        return play

    def unkept(self, row: dict[str, Any], task: Task, options: RunOptions, error: PalaestraError) -> Play:
        """The record of a rollout that the store refused: what was played is not told, for it is not kept either."""
        play = Play(task, row, options, _new_rollout(task, options))
        error.stage = NOT_KEPT
        self._fail(play, error)
        return play

    @staticmethod
    def recalled(row: dict[str, Any], task: Task, options: RunOptions, rollout: Rollout, blob: bytes) -> Play:
        """A rollout that was played before, as it was told then."""
        return Play(task, row, options, rollout, book=TraceBook.reopened(rollout, blob), blob=blob)

    async def _play(self, play: Play) -> None:
        play.peer = peer = await self._directory.find(play.row)
        play.rollout.environment = play.task.environment = peer.name
        play.rollout.environment_version = peer.version
        play.probe = self.breakers[peer.name].enter()
        play.breaker = self.breakers[peer.name]
        if peer.keeps_sessions:
            await self._seed(play, peer)
        await Conversation(self._config, self._policy, play, peer).hold()
        play.stage = "verify"
        with Timed(play, "verify"):
            play.rollout.verdict = await self._verify(play, peer)
        play.environment_well = True

    async def _seed(self, play: Play, peer: EnvironmentPeer) -> None:
        about = {"seed": play.options.seed, "repeat": play.options.repeat}
        with Timed(play, "seed"):
            reply = await peer.client.post(
                "/seed_session", {**play.row, RUN_KEY: about}, timeout_s=self._config.environment_s, idempotent=True
            )
        play.session_id = reply.json().get("session_id", "")
        if not play.session_id:
            raise EnvironmentFault(f"environment {peer.name!r} seeded a session without an id")

    async def _verify(self, play: Play, peer: EnvironmentPeer) -> Verdict:
        options = play.options
        about = {
            "rollout_id": play.rollout.rollout_id,
            "group_id": options.group_id,
            "group_size": options.group_size,
            "repeat": options.repeat,
            "grading": options.grading,
        }
        # A session knows its task; without one the row travels.
        body: dict[str, Any] = {"session_id": play.session_id} if play.session_id else dict(play.row)
        body["response"] = {"output": play.rollout.output}
        body["palaestra"] = about
        reply = await peer.client.post(
            "/verify",
            body,
            headers={headers.PREFER: _VERDICT_AND_CLOSE, headers.SESSION: play.session_id},
            timeout_s=self._config.verify_s,
            idempotent=True,
        )
        play.closed = reply.headers.get(headers.APPLIED) == headers.CLOSE
        said = _verdict_reply(reply.body)
        while said.verdict is None:
            if said.pending is None:
                raise EnvironmentFault(f"environment {peer.name!r} answered neither a verdict nor a pending one")
            play.stage = "judge"
            reply = await peer.client.post(
                "/group_verdict",
                {
                    "group_id": said.pending.group_id,
                    "rollout_id": play.rollout.rollout_id,
                    "wait_s": GROUP_WAIT_S,
                },
                timeout_s=self._config.verify_s + GROUP_WAIT_S,
                idempotent=True,
            )
            said = _verdict_reply(reply.body)
        return said.verdict

    def _closing(self, play: Play) -> AbstractContextManager[None]:
        return nullcontext() if self._metrics is None else self._metrics.stage(play.rollout.environment, "close")

    async def _close(self, play: Play) -> None:
        if not play.session_id or play.peer is None or play.closed:
            return
        try:
            with self._closing(play):
                await asyncio.shield(
                    play.peer.client.post(
                        "/close_session",
                        {"session_id": play.session_id},
                        headers={headers.SESSION: play.session_id},
                        timeout_s=CLOSE_TIMEOUT_S,
                        idempotent=True,
                    )
                )
        except (PalaestraError, asyncio.CancelledError):
            # The environment sweeps idle sessions itself; a rollout that is done must not be lost over its close.
            play.rollout.labels = {**play.rollout.labels, "session": "left_to_sweeper"}

    @staticmethod
    def _fail(play: Play, error: PalaestraError) -> None:
        rollout = play.rollout
        rollout.verdict = None
        rollout.outcome = _outcome(play.stage, error)
        if rollout.outcome is Outcome.ENV_ERROR and error.status >= 500:  # below, somebody else did something wrong
            play.environment_well = False
        error.stage = error.stage or play.stage
        error.server = error.server or SERVER
        rollout.error = error.info()


def _new_rollout(task: Task, options: RunOptions) -> Rollout:
    return Rollout(
        rollout_id=options.rollout_id,
        environment=task.environment,
        task_id=task.task_id,
        outcome=Outcome.CANCELLED,
        run_id=options.run_id,
        group_id=options.group_id,
        group_size=options.group_size,
        repeat=options.repeat,
        seed=options.seed,
        step=options.step,
        labels=options.labels,
        created_at=time.time(),
    )


def _verdict_reply(body: bytes) -> _VerdictReply:
    try:
        return msgspec.json.decode(body, type=_VerdictReply)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise EnvironmentFault(f"the verdict cannot be read: {error}") from error


def _outcome(stage: str, error: PalaestraError) -> Outcome:
    if isinstance(error, Cancelled):
        return Outcome.CANCELLED
    if stage == "generate":
        return Outcome.POLICY_ERROR
    if stage == "judge" or isinstance(error, JudgeFault):
        return Outcome.JUDGE_ERROR
    return Outcome.ENV_ERROR
