"""Palaestra's verifiers as verl's reward function, for single-turn tasks that verl samples itself.

`custom_reward_function.path=examples/verl/reward.py custom_reward_function.name=compute_score`; the row travels in the
column `extra_info` of the data, under `row`, and names its environment.
"""

from __future__ import annotations

import os
from typing import Any

import httpx

ENVIRONMENTS = os.environ.get("PALAESTRA_ENVIRONMENTS", "http://127.0.0.1:8200")
_client = httpx.Client(timeout=120)


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: dict[str, Any] | None = None, **_: Any
) -> dict[str, float]:
    """`score` and the verdict's components. Raises httpx.HTTPStatusError where nothing was measured."""
    row = (extra_info or {})["row"]
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": solution_str}]}
    reply = _client.post(f"{ENVIRONMENTS}/{row['environment']}/verify", json={**row, "response": {"output": [said]}})
    reply.raise_for_status()
    verdict = reply.json()["verdict"]
    return {"score": verdict["reward"], **verdict["components"]}
