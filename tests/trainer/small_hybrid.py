"""A hybrid with every kind of layer, small enough for four processes on two cores."""

from __future__ import annotations

from typing import Any

SHAPE: dict[str, Any] = dict(
    hidden_size=16,
    hybrid_override_pattern="ME*E",
    mamba_num_heads=4,
    mamba_head_dim=8,
    n_groups=2,
    ssm_state_size=8,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    chunk_size=4,
    n_routed_experts=8,
    num_experts_per_tok=2,
    moe_intermediate_size=8,
    moe_shared_expert_intermediate_size=8,
    initializer_range=0.25,
)
