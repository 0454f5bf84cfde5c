"""What an agent server counts: rollouts by outcome, seconds per stage, tokens, and how many wait and run."""

from __future__ import annotations

import time
from typing import Any

from gym_core import tracing
from gym_core.contracts import Rollout
from gym_core.telemetry import Metrics

BEGAN = frozenset({"start", "history_rewritten"})
"""Why a trace begins, as policy servers of ours say it; a label takes no text from outside."""


class AgentMetrics:
    """Counters of one agent server. A stage is seed, generate, tool, user, verify, close or store."""

    def __init__(self, metrics: Metrics) -> None:
        self._stages = metrics.histogram(
            "palaestra_stage_seconds", "Seconds of one call in a stage of a rollout", ("environment", "stage")
        )
        self._seconds = metrics.histogram("palaestra_rollout_seconds", "Seconds per rollout", ("environment",))
        self._rollouts = metrics.counter("palaestra_rollouts", "Rollouts that ended", ("environment", "outcome"))
        self._rewards = metrics.counter(
            "palaestra_verdicts", "Rollouts with a reward that may be trained on", ("environment",)
        )
        self._reward = metrics.gauge(
            "palaestra_reward_sum", "Sum of those rewards since the start; may fall", ("environment",)
        )
        self._tokens = metrics.counter(
            "palaestra_tokens", "Tokens read and sampled by the policy for rollouts", ("environment", "direction")
        )
        self._tools = metrics.counter(
            "palaestra_rollout_tool_calls", "Tool calls of rollouts", ("environment", "answer")
        )
        self._traces = metrics.counter("palaestra_traces", "Traces begun, by why they began", ("began",))
        self.running = metrics.gauge("palaestra_rollouts_running", "Rollouts being played")
        self.queued = metrics.gauge("palaestra_rollouts_queued", "Rollouts that wait for their turn")
        self.storing = metrics.gauge("palaestra_rollouts_storing", "Rollouts that wait to be committed")
        self.untold = metrics.gauge("palaestra_rollouts_untold", "Rollouts that ended and wait for their reader")

    def stage(self, environment: str, name: str) -> Stage:
        """Times one call of a stage, and makes it a span where spans are made."""
        return Stage(self, environment, name)

    def spent(self, environment: str, stage: str, seconds: float) -> None:
        """Count one call of a stage."""
        self._stages.labels(environment, stage).observe(seconds)

    def ended(self, rollout: Rollout) -> None:
        """Count a rollout that was played; one that was told again from the store is not."""
        name, usage = rollout.environment, rollout.usage
        self._rollouts.labels(name, rollout.outcome.value).inc()
        self._seconds.labels(name).observe(rollout.timings_ms.get("total", 0.0) / 1000)
        self._tokens.labels(name, "input").inc(usage.input_tokens)
        self._tokens.labels(name, "output").inc(usage.output_tokens)
        if usage.tool_calls:
            self._tools.labels(name, "ok").inc(usage.tool_calls - usage.tool_errors)
            self._tools.labels(name, "error").inc(usage.tool_errors)
        if rollout.reward is not None and rollout.outcome.trainable:
            self._rewards.labels(name).inc()
            self._reward.labels(name).inc(rollout.reward)
        for trace in rollout.traces:
            self._traces.labels(trace.began if trace.began in BEGAN else "other").inc()


class Stage:
    """A call of a stage under way."""

    __slots__ = ("_began", "_environment", "_metrics", "_name", "_span")

    def __init__(self, metrics: AgentMetrics, environment: str, name: str) -> None:
        self._metrics, self._environment, self._name = metrics, environment, name
        self._span = tracing.span(name)

    def __enter__(self) -> None:
        self._began = time.perf_counter()
        self._span.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._span.__exit__(*error)
        self._metrics.spent(self._environment, self._name, time.perf_counter() - self._began)
