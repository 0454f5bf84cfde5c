"""The routed experts of the hybrid in plain torch: W_down · relu(W_up · x)², weighted, summed over the chosen ones."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import linear


def relu2_experts(x: Tensor, up: Tensor, down: Tensor, weights: Tensor, experts: Tensor) -> Tensor:
    """x [n, h]; up [e, i, h]; down [e, h, i]; weights and experts [n, k] ─▶ f32 [n, h].

    Tokens are sorted by expert, so each expert multiplies once; each token sums its k parts in the router's order.
    """
    num_tokens, top_k = experts.shape
    order = experts.reshape(-1).argsort(stable=True)
    rows = x[order // top_k]
    parts = torch.empty(num_tokens * top_k, down.shape[1], dtype=torch.float32, device=x.device)
    start = 0
    for expert, count in enumerate(experts.reshape(-1).bincount(minlength=up.shape[0]).tolist()):
        if count:
            hidden = linear(rows[start : start + count], up[expert]).relu_().square_()
            parts[order[start : start + count]] = linear(hidden, down[expert]).float()
            start += count
    return (parts.view(num_tokens, top_k, -1) * weights.float().unsqueeze(-1)).sum(1)
