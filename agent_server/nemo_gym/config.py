"""What the NeMo Gym head is told: where our servers are."""

from __future__ import annotations

from typing import Literal

import msgspec


class HeadConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`environments` maps a name to the base URL of its service, as in the agent's configuration.

    `failures` says how a rollout without a reward is told: `status` answers 500, which every client of theirs takes for
    a failure; `masked` answers a row with `mask_sample` and a reward of 0 beside it, which only those from 0.7 on leave
    out. `deadline_s` bounds a rollout whose row sets no bound; their clients wait for ever.
    """

    agent_url: str = ""
    policy_url: str = ""
    environments: dict[str, str] = {}
    failures: Literal["status", "masked"] = "status"
    deadline_s: float = 1800.0
    environment_s: float = 120.0
    max_connections: int = 4096
