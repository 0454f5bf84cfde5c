"""Rollouts, traces and a tokenizer, small enough to be worked by hand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np

from gym_core.client import Client
from gym_core.contracts import Outcome, Rollout, TraceInfo, Usage, Verdict
from gym_core.errors import ErrorInfo
from gym_core.tokens import TokenTrace, encode_segment

RUN = "run-1"

Shown = Callable[..., Awaitable[Client]]
"""Serves a dashboard; its client."""


def message(text: str, role: str = "assistant") -> dict[str, Any]:
    return {"type": "message", "role": role, "content": [{"type": "output_text", "text": text}]}


def rollout(number: int, **changes: Any) -> Rollout:
    """Rollout `number` of a run: environments in turn, rewards 0, 0.5 and 1 in turn, two to a group."""
    reward = (0.0, 0.5, 1.0)[number % 3]
    fields: dict[str, Any] = {
        "rollout_id": f"{RUN}/{number}",
        "run_id": RUN,
        "environment": ("math", "ledger")[number % 2],
        "task_id": f"task-{number // 2}",
        "group_id": f"group-{number // 2}",
        "group_size": 2,
        "repeat": number % 2,
        "step": number // 4,
        "outcome": Outcome.SCORED,
        "verdict": Verdict(reward=reward, components={"exact": reward}),
        "output": [message(f"answer {number}")],
        "usage": Usage(input_tokens=5, output_tokens=3, turns=1),
        "timings_ms": {"generate": 12.5, "verify": 2.5, "total": 20.0},
        "created_at": 1_700_000_000.0 + number,
        "finish_reason": "stop",
    }
    return Rollout(**{**fields, **changes})


def failed(number: int, outcome: Outcome = Outcome.ENV_ERROR, **changes: Any) -> Rollout:
    error = ErrorInfo(code="environment_fault", message="the worker died", stage="verify", server="environment")
    return rollout(number, outcome=outcome, verdict=None, error=error, **changes)


def trace(prompt: str, said: str, logprobs: list[float], version: int = 7) -> tuple[bytes, list[TraceInfo]]:
    """A trace whose tokens are the bytes of its texts, and its description."""
    ids = np.array([*prompt.encode(), *said.encode()], np.int32)
    sampled = np.arange(len(ids)) >= len(prompt.encode())
    values = np.zeros(len(ids), np.float32)
    values[sampled] = logprobs
    spans = [("prompt", 0, len(prompt.encode())), ("answer", len(prompt.encode()), len(ids))]
    blob = encode_segment(TokenTrace(ids, values, sampled, np.where(sampled, version, -1).astype(np.int32), spans))
    info = TraceInfo(offset=0, num_bytes=len(blob), num_tokens=len(ids), num_trainable=int(sampled.sum()))
    return blob, [info]


class Bytes:
    """The tokenizer of such a trace: a token is a byte."""

    def token_bytes(self, token: int, skip_special: bool = False) -> bytes:
        if not 0 <= token < 256:
            raise ValueError(f"no token {token}")
        return bytes([token])
