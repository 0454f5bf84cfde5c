"""Rows as NeMo Gym's clients send them to `/run`, and rollouts as they expect them back.

row + _ng_task_index, _ng_rollout_index, agent_ref ─▶ row + our options ─▶ rollout
rollout ─▶ the row, `response`, `reward`, each component as a number, `palaestra_rollout` with all that is ours
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from gym_core.contracts import RUN_KEY, Outcome

OURS = "palaestra_rollout"
TOKEN_FIELDS = (
    "prompt_token_ids",
    "generation_token_ids",
    "generation_log_probs",
    "generation_loss_mask",
    "routed_experts",
)
_KINDS = {
    Outcome.ENV_ERROR: "environment_error",
    Outcome.POLICY_ERROR: "model_error",
    Outcome.JUDGE_ERROR: "judge_error",
    Outcome.CANCELLED: "cancelled",
}
_ADDED = frozenset({"reward", "reward_components", "response", "mask_sample"})

Row = dict[str, Any]


def as_asked(row: Row, deadline_s: float) -> Row:
    """The row for our `/run`: the repeat it is of, and a bound in time where it sets none."""
    given = row.get(RUN_KEY, {})
    if not isinstance(given, dict):
        return row  # the agent says what is wrong with it
    options = {"deadline_s": deadline_s, **given}
    repeat = row.get("_ng_rollout_index")
    if isinstance(repeat, int):
        options.setdefault("repeat", repeat)
    return {**row, RUN_KEY: options}


def measured(said: Mapping[str, Any]) -> bool:
    """Whether a `/run` reply of ours holds a reward that may be used."""
    return not said["mask_sample"]


def failure_text(said: Mapping[str, Any]) -> str:
    """The body of the 500 that stands for a rollout without a reward."""
    error = said.get("error") or {}
    where = " ".join(part for part in (error.get("server"), error.get("stage")) if part) or "the agent"
    return (
        f"Hit an exception in {where}: {error.get('message', said['outcome'])}"
        f" [outcome {said['outcome']}, rollout {said['rollout_id']}]"
    )


def result_row(row: Row, said: Mapping[str, Any]) -> Row:
    """A row of their rollouts file from our reply to `/run`, failures as masked rows."""
    components: dict[str, float] = said["reward_components"]
    sent = {key: value for key, value in row.items() if key != RUN_KEY}
    known = {*row, *_ADDED, "palaestra"}
    result: Row = {
        **sent,
        **{name: value for name, value in components.items() if name not in known},
        "response": _contiguous(said["response"]),
        "reward": 0.0 if said["reward"] is None else said["reward"],
        "mask_sample": not measured(said),
    }
    if components and math.isclose(sum(components.values()), result["reward"], abs_tol=1e-6):
        result["reward_components"] = components  # their trainers refuse parts that do not make up the whole
    if not measured(said):
        result["failure_kind"] = _KINDS.get(Outcome(said["outcome"]), "unknown")
        result["failure_reason"] = failure_text(said)
    result[OURS] = {key: value for key, value in said.items() if key not in known}
    return result


def _contiguous(response: Mapping[str, Any]) -> dict[str, Any]:
    """The response with the tokens of its last trace alone.

    Their trainers take every prompt to begin with all tokens before it and fail where it does not; after a history was
    rewritten that holds for the new trace only, and an item without tokens is one that they do not train on.
    """
    output = list(response["output"])
    seen: list[int] = []
    begun = 0
    for number, item in enumerate(output):
        if not item.get("generation_token_ids"):
            continue
        prompt = item["prompt_token_ids"]
        if prompt[: len(seen)] != seen:
            begun = number
        seen = prompt + item["generation_token_ids"]
    for number in range(begun):
        output[number] = {key: value for key, value in output[number].items() if key not in TOKEN_FIELDS}
    return {**response, "output": output}
