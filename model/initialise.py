"""Weights from scratch, as Nemotron-H starts: normal matrices, residual writers scaled by depth, Mamba's own rules."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from model.config import HybridConfig
from model.layers.mamba import MambaMixer

# Matrices whose product is added to the residual stream.
_RESIDUAL_WRITERS = ("out_proj.weight", "o_proj.weight", "down_proj.weight", "down_proj")


@torch.no_grad()
def initialise(model: nn.Module, config: HybridConfig, generator: torch.Generator) -> None:
    """Fill every parameter; the same generator state gives the same weights on every device and in every dtype.

    Matrices: normal(0, initializer_range), those that write to the residual stream divided by sqrt(layers) when
    rescale_prenorm_residual. Norms and D: 1. Convolution: uniform(+-1/sqrt(K)). Selection biases: 0.
    dt is log-uniform in [time_step_min, time_step_max] and dt_bias its inverse softplus; A = 1..H.
    """
    shrink = 1 / math.sqrt(config.num_hidden_layers) if config.rescale_prenorm_residual else 1.0
    for name, parameter in model.named_parameters():
        if name.endswith(("norm.weight", "norm_f.weight", ".D")):
            parameter.fill_(1)
        elif ".conv1d." in name:
            bound = config.conv_kernel**-0.5
            parameter.copy_(torch.rand(parameter.shape, generator=generator) * (2 * bound) - bound)
        elif parameter.dim() > 1:
            std = config.initializer_range * (shrink if name.endswith(_RESIDUAL_WRITERS) else 1.0)
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)
    for module in model.modules():
        if isinstance(module, MambaMixer):
            module.dt_bias.copy_(_inverse_softplus_dt(config, generator))
            module.A_log.copy_(torch.arange(1, config.mamba_num_heads + 1).log())


def _inverse_softplus_dt(config: HybridConfig, generator: torch.Generator) -> Tensor:
    low, high = math.log(config.time_step_min), math.log(config.time_step_max)
    dt = torch.exp(torch.rand(config.mamba_num_heads, generator=generator) * (high - low) + low)
    dt = dt.clamp(min=config.time_step_floor)
    return dt + torch.log(-torch.expm1(-dt))
