"""What a batch of rollouts says by itself, before anything is trained on it."""

from __future__ import annotations

from collections.abc import Sequence

from gym_core.contracts import Outcome
from trainer.advantage import trainable_reward
from trainer.metrics import Metrics
from trainer.played import Played, PlayedGroup


def rollout_metrics(groups: Sequence[PlayedGroup], version: int, num_asked: int) -> dict[str, float]:
    """Rewards (all, by environment), lengths, truncation, failures, tools, and how old the sampler was.

    `version` is the policy version that should have sampled them; failures are counted, never averaged in.
    """
    metrics = Metrics()
    for group in groups:
        rewards = [r for r in (trainable_reward(m.rollout) for m in group.members) if r is not None]
        metrics.mean("reward", sum(rewards), len(rewards))
        metrics.mean(f"reward/{group.environment}", sum(rewards), len(rewards))
        if len(rewards) > 1:
            metrics.mean("frac_reward_zero_std", float(max(rewards) == min(rewards)), 1)
        for member in group.members:
            _add_member(metrics, member, version)
    metrics.sum("rollouts/recalled", sum(member.recalled for group in groups for member in group.members))
    metrics.sum("rollouts/lost", num_asked - sum(len(group.members) for group in groups))
    return metrics.reduce()


def _add_member(metrics: Metrics, member: Played, version: int) -> None:
    rollout, traces, outcome = member.rollout, member.traces, member.rollout.outcome
    metrics.sum(f"outcome/{outcome.value}", 1)
    if not outcome.trainable:
        return
    metrics.mean("completions/mean_length", sum(int(t.loss_mask.sum()) for t in traces), 1)
    metrics.mean("completions/clipped_ratio", float(outcome is Outcome.TRUNCATED), 1)
    metrics.mean("traces_per_rollout", len(traces), 1)
    metrics.sum("sampled_tokens", sum(int(t.loss_mask.sum()) for t in traces))
    metrics.sum("total_tokens", sum(len(t) for t in traces))
    metrics.sum("tool_calls", rollout.usage.tool_calls)
    metrics.sum("tool_errors", rollout.usage.tool_errors)
    for trace in traces:
        lag = version - trace.versions[trace.loss_mask]
        metrics.mean("policy_lag_mean", float(lag.sum()), len(lag))
        metrics.mean("stale_token_share", float((lag > 0).sum()), len(lag))
    if rollout.policy_version_min >= 0:
        metrics.max("policy_lag_max", version - rollout.policy_version_min)
