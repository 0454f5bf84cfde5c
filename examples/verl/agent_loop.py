"""Palaestra as an agent loop of verl: each sample's row is played by the agent server, tokens and mask come back.

Named in the configuration by `actor_rollout_ref.rollout.agent.default_agent_loop=palaestra` and
`actor_rollout_ref.rollout.agent.agent_loop_config_path=examples/verl/agent_loop.yaml`. The row travels in the column
`extra_info` of the data, under `row`.
"""

from __future__ import annotations

import os
from typing import Any

from verl.experimental.agent_loop.agent_loop import AgentLoopBase, AgentLoopMetrics, AgentLoopOutput, register

from gym_core.sdk import AsyncClient, Played

AGENT_URL = os.environ.get("PALAESTRA_AGENT", "http://127.0.0.1:8100")


@register("palaestra")
class PalaestraAgentLoop(AgentLoopBase):
    """One row is one rollout. A rollout that failed raises: verl has no word for a sample without a reward."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._client = AsyncClient(AGENT_URL, token=os.environ.get("PALAESTRA_TOKEN"))

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> AgentLoopOutput:
        sampling = {name: sampling_params[name] for name in ("temperature", "top_p") if name in sampling_params}
        sampling["max_output_tokens"] = self.config.actor_rollout_ref.rollout.response_length
        played = await self._client.run(kwargs["extra_info"]["row"], sampling=sampling)
        return AgentLoopOutput(**fields(played), metrics=AgentLoopMetrics())


def fields(played: Played) -> dict[str, Any]:
    """What verl wants of a rollout. Raises RuntimeError for one that must not be trained on."""
    if not played.trainable or not played.traces:
        raise RuntimeError(f"rollout {played.rollout.rollout_id}: {played.rollout.outcome}, {played.rollout.error}")
    trace = played.traces[-1]
    begun = int(trace.loss_mask.argmax())
    return {
        "prompt_ids": trace.token_ids[:begun].tolist(),
        "response_ids": trace.token_ids[begun:].tolist(),
        "response_mask": trace.loss_mask[begun:].astype(int).tolist(),
        "response_logprobs": trace.logprobs[begun:].tolist(),
        "reward_score": played.reward,
        "num_turns": 2 * played.rollout.usage.turns,
    }
