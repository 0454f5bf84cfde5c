"""The JSON edge of `/run`: the row echoed with `reward` and `response`, as trainers that speak NeMo Gym expect it.

Only here are tokens opened on the agent's side: the last output item of each policy turn carries `prompt_token_ids`,
`generation_token_ids` and `generation_log_probs` as lists. Between our own servers nobody asks for this form.
"""

from __future__ import annotations

from typing import Any

import msgspec

from agent_server.play import Play
from agent_server.responses import full_response
from gym_core.tokens import decode_trace


def run_reply(play: Play, *, with_tokens: bool = True) -> dict[str, Any]:
    """The body of a JSON `/run` reply. `reward` is null where there is no verdict."""
    rollout = play.rollout
    output = _with_tokens(play) if with_tokens else rollout.output
    usage = rollout.usage
    reply = msgspec.to_builtins(rollout)
    for name in ("output", "traces", "verdict"):
        reply.pop(name)
    return {
        **play.row,
        **reply,
        "reward": rollout.reward,
        "reward_components": {} if rollout.verdict is None else rollout.verdict.components,
        "verdict": msgspec.to_builtins(rollout.verdict),
        "mask_sample": not rollout.outcome.trainable,
        "response": full_response(
            output,
            play.task.responses_create_params,
            response_id=f"resp_{rollout.rollout_id}",
            truncated=rollout.finish_reason == "length",
            usage={"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens},
            created_at=rollout.created_at,
        ),
    }


def _with_tokens(play: Play) -> list[dict[str, Any]]:
    """Output items, the last one of each turn carrying that turn's prompt, ids and log-probabilities.

    Tokens that the policy did not choose (a forced end of its thoughts, a grammar's) stay where they stand, and
    `generation_loss_mask` then says which they are. `routed_experts`, of prompt and generation, are there where asked.
    """
    output = list(play.rollout.output)
    for mark in play.book.marks:
        segments = play.book.segments(mark.trace)
        before = decode_trace(b"".join(segments[: mark.segment]))
        turn = decode_trace(segments[mark.segment])
        if not turn.loss_mask.any():
            continue
        begun = next((end for kind, _, end in turn.spans if kind == "prompt"), int(turn.loss_mask.argmax()))
        sampled = turn.loss_mask[begun:].tolist()
        experts = decode_trace(b"".join(segments[: mark.segment + 1])).routed_experts
        output[mark.item] = {
            **output[mark.item],
            "prompt_token_ids": before.token_ids.tolist() + turn.token_ids[:begun].tolist(),
            "generation_token_ids": turn.token_ids[begun:].tolist(),
            "generation_log_probs": turn.logprobs[begun:].tolist(),
            **({} if all(sampled) else {"generation_loss_mask": sampled}),
            **({} if experts is None else {"routed_experts": experts.tolist()}),
        }
    return output
