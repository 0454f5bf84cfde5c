"""What the agent server is told: where environments and the policy are, and the bounds of a rollout."""

from __future__ import annotations

import msgspec


class AgentConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds are per rollout unless said otherwise; every `_s` is seconds.

    `environments` maps a name to the base URL of its service, or to `nemo_gym+http://host:port` of a resources server
    of NeMo Gym; `store` is a path or database URL, empty for none.
    `model` is asked of the policy server by name where it is set.
    `max_steps` is used where neither the caller nor the environment says; `max_queued` counts rollouts waiting or
    running in the whole server, or finished and not yet taken by the reader of their stream; beyond it the answer is
    429. A reader that takes nothing for `stall_s` is cut off.
    An environment that failed `breaker_failures` rollouts in a row (0: never mind) is left alone for `breaker_rest_s`,
    and for twice as long after each probe that fails too.
    """

    environments: dict[str, str] = {}
    policy_url: str = ""
    model: str = ""
    store: str = ""
    max_steps: int = 8
    max_output_tokens: int = 65_536
    max_tool_calls_per_turn: int = 32
    max_tool_output_chars: int = 65_536
    max_running: int = 256
    max_queued: int = 8192
    max_deadline_s: float = 3600.0
    generate_s: float = 600.0
    tool_s: float = 60.0
    user_s: float = 120.0
    verify_s: float = 60.0
    environment_s: float = 10.0
    stall_s: float = 300.0
    breaker_failures: int = 16
    breaker_rest_s: float = 1.0
