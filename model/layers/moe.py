"""Mixture of experts: routed relu^2 experts plus one shared expert, balanced by a selection bias (2408.15664)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.config import HybridConfig
from model.kernels.experts import relu_squared, routed_experts
from model.kernels.router import route
from model.layers.linear import Linear


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
        counts = torch.zeros(config.n_routed_experts, device=device, dtype=torch.int64)
        self.register_buffer("expert_counts", counts, persistent=False)

    def forward(self, x: Tensor, residual: Tensor, counted: Tensor | None = None) -> Tensor:
        """x, residual [T, D] -> residual + mixer(x). counted [T] bool: tokens that enter the counts (None: all)."""
        bias = self.gate.e_score_correction_bias
        routing = route(x, self.gate.weight, bias, self.top_k, self.scale, self.normalise)
        if self.training and torch.is_grad_enabled():
            self._count(routing.experts, counted)
        shared = self.shared_experts.add_to(residual, x)
        return shared + routed_experts(x, routing, self.experts.up_proj, self.experts.down_proj)

    @torch.no_grad()
    def _count(self, experts: Tensor, counted: Tensor | None) -> None:
        chosen = experts if counted is None else experts[counted]
        self.expert_counts += torch.bincount(chosen.flatten(), minlength=len(self.expert_counts))

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
