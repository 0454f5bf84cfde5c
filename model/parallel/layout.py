"""How many processes do what: data x context x tensor parallel, with experts spread over the token ranks.

    rank = (dp_rank * cp + cp_rank) * tp + tp_rank         token rank = dp_rank * cp + cp_rank
    experts: token rank = edp_rank * ep + ep_rank, edp = dp * cp / ep

A token rank is a place that has tokens of its own: other sequences (dp), or another stretch of the same ones (cp).
Tensor-parallel processes share a token rank. Expert parallelism takes no processes of its own: ep neighbouring token
ranks hold one set of experts between them, as in Megatron-LM and torchtitan. What is left of dp x cp shards parameters,
gradients and optimiser state with FSDP2: all token ranks for the dense part, edp of them for the experts.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from model.config import HybridConfig


@dataclass(frozen=True)
class Layout:
    """dp: replicas of the data. ep: token ranks that share one set of experts. tp: parts of each head group, row of
    experts and vocabulary. cp: stretches that each packed batch is cut into."""

    dp: int = 1
    ep: int = 1
    tp: int = 1
    cp: int = 1

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"layout: {field.name} must be a positive integer, got {value!r}")
        if self.token_ranks % self.ep:
            raise ValueError(
                f"layout: ep {self.ep} must divide dp x cp = {self.token_ranks}, whose ranks share the experts"
            )

    @property
    def world(self) -> int:
        """Number of processes."""
        return self.token_ranks * self.tp

    @property
    def token_ranks(self) -> int:
        return self.dp * self.cp

    @property
    def edp(self) -> int:
        """Copies of each expert, over which FSDP2 shards it."""
        return self.token_ranks // self.ep

    def require(self, config: HybridConfig) -> None:
        """Raises ValueError that names every dimension of the model which this layout cannot divide."""
        problems = [
            f"{axis} {parts} does not divide {name} {getattr(config, name)}"
            for axis, parts, name in (
                ("ep", self.ep, "n_routed_experts"),
                ("tp", self.tp, "mamba_num_heads"),
                ("tp", self.tp, "n_groups"),
                ("tp", self.tp, "num_attention_heads"),
                ("tp", self.tp, "moe_intermediate_size"),
                ("tp", self.tp, "moe_shared_expert_intermediate_size"),
            )
            if getattr(config, name) % parts
        ]
        kv_heads = config.num_key_value_heads
        if kv_heads % self.tp and self.tp % kv_heads:
            problems.append(f"tp {self.tp} neither divides num_key_value_heads {kv_heads} nor is a multiple of it")
        if problems:
            raise ValueError("layout: " + "; ".join(problems) + "; choose divisors")

    def __str__(self) -> str:
        parts = [f"{field.name}{getattr(self, field.name)}" for field in fields(self) if getattr(self, field.name) > 1]
        return "-".join(parts) or "single"
