"""Mixture of experts: routed relu^2 experts plus one shared expert, balanced by a selection bias (2408.15664).

What else a pass may ask of a layer's routing (replay a recorded choice, record its own, a balancing loss) is set by
`model.routing` for the length of a `with` block; without it a layer only chooses.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from model.config import HybridConfig
from model.kernels.experts import relu_squared, routed_experts
from model.kernels.router import Routing, check_record, count_experts, gate_logits, route_logits
from model.kernels.router_balance import balance_losses
from model.layers.linear import Linear


@dataclass
class Balance:
    """A balancing loss for the sequences of one pass: whose token each is, and what each layer made of it."""

    coefficient: float
    sequence: Tensor  # [T] int64
    num_sequences: int
    counted: Tensor | None  # [T] bool; None: every token
    losses: list[Tensor] = field(default_factory=list)  # one [S] per pass


@dataclass
class RoutingControl:
    """What is asked of one layer's routing beyond choosing; nothing, when it is None."""

    replayed: Tensor | None = None  # [T, k] any integer type, a negative number where nothing was recorded
    recorded: list[Tensor] | None = None  # each pass adds the experts it chose [T, k]
    balance: Balance | None = None

    @property
    def asks(self) -> bool:
        """Whether anything is asked: forms of the layer that only choose must then give way to `MoEMixer.forward`."""
        return self.replayed is not None or self.recorded is not None or self.balance is not None


class Router(nn.Module):
    """Gate weight [E, D] and the fp32 bias that only steers the choice of experts."""

    e_score_correction_bias: Tensor

    def __init__(self, config: HybridConfig, device: torch.device | None, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(config.n_routed_experts, config.hidden_size, device=device, dtype=dtype))
        bias = torch.zeros(config.n_routed_experts, device=device, dtype=torch.float32)
        self.register_buffer("e_score_correction_bias", bias)


class Experts(nn.Module):
    """All routed experts in two blocks [E, I, D]; down_proj is the transpose of the released one."""

    def __init__(self, config: HybridConfig, device: torch.device | None, dtype: torch.dtype) -> None:
        super().__init__()
        shape = (config.n_routed_experts, config.moe_intermediate_size, config.hidden_size)
        self.up_proj = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.down_proj = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))

    def forward(self, x: Tensor, routing: Routing) -> Tensor:
        """x [T, D] -> the weighted sum of each token's experts [T, D]."""
        return routed_experts(x, routing, self.up_proj, self.down_proj)


class SharedExpert(nn.Module):
    def __init__(self, config: HybridConfig, device: torch.device | None, dtype: torch.dtype) -> None:
        super().__init__()
        width = config.moe_shared_expert_intermediate_size
        self.up_proj = Linear(config.hidden_size, width, device, dtype)
        self.down_proj = Linear(width, config.hidden_size, device, dtype)

    def add_to(self, residual: Tensor, x: Tensor) -> Tensor:
        return self.down_proj.add_to(residual, relu_squared(self.up_proj(x)))


class MoEMixer(nn.Module):
    """expert_counts [E] int64 gathers the tokens per expert of training passes until the bias is next moved."""

    expert_counts: Tensor

    def __init__(self, config: HybridConfig, device: torch.device | None, dtype: torch.dtype) -> None:
        super().__init__()
        self.top_k = config.num_experts_per_tok
        self.scale = config.routed_scaling_factor
        self.normalise = config.norm_topk_prob
        self.gate = Router(config, device, dtype)
        self.experts = Experts(config, device, dtype)
        self.shared_experts = SharedExpert(config, device, dtype)
        self.control = RoutingControl()
        counts = torch.zeros(config.n_routed_experts, device=device, dtype=torch.int64)
        self.register_buffer("expert_counts", counts, persistent=False)

    def forward(self, x: Tensor, residual: Tensor, counted: Tensor | None = None) -> Tensor:
        """x, residual [T, D] -> residual + mixer(x). counted [T] bool: tokens that enter the counts (None: all).

        Raises ValueError when experts to replay do not fit the tokens.
        """
        routing = self._route(x, counted)
        return self.shared_experts.add_to(residual, x) + self.experts(x, routing)

    def _route(self, x: Tensor, counted: Tensor | None) -> Routing:
        control, bias = self.control, self.gate.e_score_correction_bias
        logits = gate_logits(x, self.gate.weight)
        routing = route_logits(logits, bias, self.top_k, self.scale, self.normalise, recorded=control.replayed)
        self.note(routing.experts, counted)
        if (ask := control.balance) is not None:
            # Computed in a recomputation too: it must run the operations of the pass that it repeats.
            losses = balance_losses(logits, self.top_k, ask.coefficient, ask.sequence, ask.num_sequences, ask.counted)
            if not _recomputing():
                ask.losses.append(losses)
        return routing

    def recorded_for(self, x: Tensor) -> Tensor | None:
        """The experts [T, k] int64 that a pass over x [T, D] must take, where a record is replayed."""
        if (replayed := self.control.replayed) is None:
            return None
        check_record(replayed, len(x), self.top_k, len(self.expert_counts))
        return replayed.to(torch.int64)

    def note(self, experts: Tensor, counted: Tensor | None) -> None:
        """Count and record the experts [T, k] that a pass chose; a pass computed again leaves no second trace."""
        if _recomputing():
            return
        if self.training and torch.is_grad_enabled():
            self.expert_counts += count_experts(experts, len(self.expert_counts), counted)
        if self.control.recorded is not None:
            self.control.recorded.append(experts)

    def freeze_router(self) -> None:
        """Stop training the gate; gradients still pass through its scores to the tokens."""
        self.gate.weight.requires_grad_(False)

    @torch.no_grad()
    def update_expert_bias(self, rate: float) -> None:
        """b_i += rate * sign(mean(c) - c_i), the mean of the move taken off; the counts start again at zero."""
        counts = self.expert_counts.to(torch.float64)
        move = rate * torch.sign(counts.mean() - counts)
        self.gate.e_score_correction_bias += move - move.mean()
        self.expert_counts.zero_()


def _recomputing() -> bool:
    """Whether this forward runs inside a backward pass: a layer computed again, which must leave no second trace."""
    return torch._C._current_graph_task_id() != -1
