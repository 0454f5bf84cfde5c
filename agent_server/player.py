"""The rollout: seed a session, let the policy and the tools take turns within bounds, ask for the verdict.

    seed ─▶ [ generate ─▶ tools ]* ─▶ verify ─▶ close ─▶ store

Each arrow is a stage; whatever fails becomes the rollout's outcome with the stage that failed and why. A failure never
becomes a reward, and a session is closed on every way out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from agent_server.config import AgentConfig
from agent_server.directory import Directory, EnvironmentPeer
from agent_server.metrics import AgentMetrics
from agent_server.policy import Policy, Turn
from agent_server.tools import ToolCaller
from agent_server.traces import TraceBook
from gym_core import headers, telemetry, tracing
from gym_core.contracts import RUN_KEY, Outcome, PendingVerdict, Rollout, RunOptions, Task, Usage, Verdict
from gym_core.errors import Cancelled, DeadlineExceeded, EnvironmentFault, JudgeFault, PalaestraError
from gym_core.seeds import derive

SERVER = "agent"
log = telemetry.logger(SERVER)
CLOSE_TIMEOUT_S = 5.0
GROUP_WAIT_S = 20.0


class _VerdictReply(msgspec.Struct):
    verdict: Verdict | None = None
    pending: PendingVerdict | None = None


@dataclass(slots=True)
class Play:
    """A rollout under way. `stage` is where it is now, and so where it fails if it fails."""

    task: Task
    row: dict[str, Any]
    options: RunOptions
    rollout: Rollout
    peer: EnvironmentPeer | None = None
    session_id: str = ""
    stage: str = "seed"
    book: TraceBook = field(default_factory=TraceBook)
    usage: Usage = field(default_factory=Usage)
    truncated: bool = False
    blob: bytes = b""


class Player:
    """Plays rollouts; holds no state of its own between them."""

    def __init__(self, config: AgentConfig, directory: Directory, policy: Policy, metrics: AgentMetrics) -> None:
        self._config = config
        self._directory = directory
        self._policy = policy
        self._metrics = metrics

    async def play(self, row: dict[str, Any], task: Task, options: RunOptions) -> Play:
        """Play a task to its outcome. Never raises for what happens to the rollout; only for a bug of ours."""
        play = Play(task, row, options, _new_rollout(task, options))
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

    @staticmethod
    def recalled(row: dict[str, Any], task: Task, options: RunOptions, rollout: Rollout, blob: bytes) -> Play:
        """A rollout that was played before, as it was told then."""
        return Play(task, row, options, rollout, book=TraceBook.reopened(rollout, blob), blob=blob)

    async def _play(self, play: Play) -> None:
        play.peer = peer = await self._directory.find(play.row)
        play.rollout.environment = play.task.environment = peer.name
        play.rollout.environment_version = peer.version
        if peer.keeps_sessions:
            await self._seed(play, peer)
        await self._converse(play, peer)
        play.stage = "verify"
        with self._stage(play, "verify"):
            play.rollout.verdict = await self._verify(play, peer)

    @contextmanager
    def _stage(self, play: Play, name: str) -> Iterator[None]:
        """Count the time of one call, and add it to the rollout's timings, whether or not it succeeds."""
        began = time.perf_counter()
        try:
            with self._metrics.stage(play.rollout.environment, name):
                yield
        finally:
            timings = play.rollout.timings_ms
            timings[name] = round(timings.get(name, 0.0) + 1000 * (time.perf_counter() - began), 3)

    async def _seed(self, play: Play, peer: EnvironmentPeer) -> None:
        about = {"seed": play.options.seed, "repeat": play.options.repeat}
        with self._stage(play, "seed"):
            reply = await peer.client.post(
                "/seed_session", {**play.row, RUN_KEY: about}, timeout_s=self._config.environment_s, idempotent=True
            )
        play.session_id = reply.json().get("session_id", "")
        if not play.session_id:
            raise EnvironmentFault(f"environment {peer.name!r} seeded a session without an id")

    async def _converse(self, play: Play, peer: EnvironmentPeer) -> None:
        """The bounded tool loop: stop at an answer, a cut, or the bounds."""
        params = play.task.responses_create_params
        items = list(play.task.messages)
        tools = ToolCaller(
            peer,
            play.session_id,
            play.task.tools,
            timeout_s=self._config.tool_s,
            max_chars=self._config.max_tool_output_chars,
            max_calls=self._config.max_tool_calls_per_turn,
        )
        max_steps = play.options.max_steps or peer.max_steps or self._config.max_steps
        left = self._config.max_output_tokens
        covered = 0
        for step in range(max_steps):
            play.stage = "generate"
            request = self._request(play, params, items, left, step)
            with self._stage(play, "generate"):
                turn = await self._policy.turn(
                    request,
                    covered,
                    play.book.current,
                    self._config.generate_s,
                    f"{play.rollout.rollout_id or id(play)}-{step}",
                )
            self._take(play, turn)
            items = items + turn.output
            covered = len(items)
            left -= turn.output_tokens
            calls = [item for item in turn.output if item.get("type") == "function_call"]
            if turn.finish_reason == "length" or left <= 0:
                play.truncated = True
                return
            if not calls or not peer.has_tools:
                # Where an environment has no tools, a function call is an answer in that form.
                return
            if step == max_steps - 1:
                break
            play.stage = "tool"
            with self._stage(play, "tool"):
                results = await tools.call_all(calls)
            play.usage.tool_calls += len(results)
            play.usage.tool_errors += sum(not result.ok for result in results)
            outputs = [result.item for result in results]
            items = items + outputs
            play.rollout.output.extend(outputs)
        play.truncated = True

    def _request(
        self, play: Play, params: dict[str, Any], items: list[dict[str, Any]], left: int, step: int
    ) -> dict[str, Any]:
        request = {**params, "input": items, "seed": derive(play.options.seed, "turn", step)}
        sampling = play.options.sampling
        for name in ("temperature", "top_p", "stop"):
            value = getattr(sampling, name)
            if value is not None:
                request[name] = value
        asked = sampling.max_output_tokens or params.get("max_output_tokens")
        request["max_output_tokens"] = min(asked, left) if asked else left
        if sampling.thinking is not None:
            request["chat_template_kwargs"] = {"enable_thinking": sampling.thinking}
        return request

    def _take(self, play: Play, turn: Turn) -> None:
        rollout = play.rollout
        rollout.output.extend(turn.output)
        play.book.add(turn.segment, turn.began, len(rollout.output) - 1)
        rollout.finish_reason = turn.finish_reason
        play.usage.turns += 1
        play.usage.input_tokens += turn.input_tokens
        play.usage.output_tokens += turn.output_tokens
        if turn.version_max >= 0:
            low = rollout.policy_version_min
            rollout.policy_version_min = turn.version_min if low < 0 else min(low, turn.version_min)
            rollout.policy_version_max = max(rollout.policy_version_max, turn.version_max)

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
            headers={"Prefer": "return=minimal", headers.SESSION: play.session_id},
            timeout_s=self._config.verify_s,
            idempotent=True,
        )
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

    async def _close(self, play: Play) -> None:
        if not play.session_id or play.peer is None:
            return
        try:
            with self._metrics.stage(play.rollout.environment, "close"):
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
    except (msgspec.MsgspecError, ValueError) as error:
        raise EnvironmentFault(f"the verdict cannot be read: {error}") from error


def _outcome(stage: str, error: PalaestraError) -> Outcome:
    if isinstance(error, Cancelled):
        return Outcome.CANCELLED
    if stage == "generate":
        return Outcome.POLICY_ERROR
    if stage == "judge" or isinstance(error, JudgeFault):
        return Outcome.JUDGE_ERROR
    return Outcome.ENV_ERROR
