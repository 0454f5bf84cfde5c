"""A small model in which every part matters, and the four batches that make one global batch.

Sequences are cut at unlucky places: shorter than the convolution, ending at borders of stretches, running through
several.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from model.config import HybridConfig
from model.parallel.gradients import local
from model.stack import HybridModel

VOCABULARY = 97
LENGTHS = ([5, 17, 3, 16], [41], [1, 2, 1, 20, 1, 2], [10, 11, 10, 12])


def config(**overrides: Any) -> HybridConfig:
    small: dict[str, Any] = dict(
        hidden_size=16,
        hybrid_override_pattern="MEM*E",
        mamba_num_heads=8,
        mamba_head_dim=4,
        n_groups=4,
        ssm_state_size=8,
        head_dim=8,
        chunk_size=8,
        moe_intermediate_size=8,
        moe_shared_expert_intermediate_size=16,
        initializer_range=0.25,
    )
    return HybridConfig.tiny(VOCABULARY, **(small | overrides))


def original(**overrides: Any) -> HybridModel:
    """Every part matters: biases that choose, norms that are not one, decays that reach over borders."""
    model = HybridModel(config(**overrides), dtype=torch.float64)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for mixer in model.moe_layers():
            bias = mixer.gate.e_score_correction_bias
            bias.copy_(torch.randn(bias.shape, generator=draw) * 0.1)
        for name, parameter in model.named_parameters():
            if name.endswith(("norm.weight", "norm_f.weight", ".D", "conv1d.bias")):
                parameter.add_(torch.randn(parameter.shape, generator=draw, dtype=torch.float64) * 0.3)
            if name.endswith("A_log"):
                parameter.copy_(torch.linspace(-3, 0, len(parameter)))
    return model


def batches() -> list[tuple[Tensor, Tensor, Tensor]]:
    """token_ids, cu_seqlens, and the trainable tokens, of each of the four."""
    made = []
    for index, lengths in enumerate(LENGTHS):
        draw = torch.Generator().manual_seed(index)
        token_ids = torch.randint(VOCABULARY, (sum(lengths),), generator=draw)
        made.append(
            (token_ids, torch.tensor([0, *lengths]).cumsum(0), torch.rand(len(token_ids), generator=draw) > 0.3)
        )
    return made


def grad(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def grads_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: local(grad(parameter)).clone() for name, parameter in model.named_parameters()}


def loss_sum(logprobs: Tensor, entropy: Tensor, mask: Tensor, rows: slice) -> Tensor:
    weights = torch.arange(1, len(mask) + 1, dtype=torch.float64).sin() * mask
    return (weights[rows] * (logprobs + 0.3 * entropy.square())).sum()


def furthest(found: dict[str, Tensor], expected: dict[str, Tensor]) -> tuple[float, str]:
    """The largest difference of any tensor, as a part of its largest number, and whose it is."""
    assert found.keys() == expected.keys(), found.keys() ^ expected.keys()
    return max(
        (float(((found[name] - tensor).abs().max() / tensor.abs().max()).detach()), name)
        for name, tensor in expected.items()
    )
