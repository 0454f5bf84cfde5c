"""The moments of AdamW over a model in shards, written whole and read back in any layout."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from model.parallel.parallelise import fill_like, gather_parameters
from model.parallel.sharded_model import ShardedModel

MOMENTS = ("exp_avg", "exp_avg_sq")


def moments_of(model: ShardedModel, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The optimizer's state as one process would have it; every process has to ask, process 0 has the answer."""
    names = trained_names(model)
    moments = {kind: gather_parameters(model, partial(_moment, optimizer, kind)) for kind in MOMENTS}
    steps = {n: optimizer.state[p]["step"] for n, p in model.named_parameters() if p in optimizer.state}
    state = {
        index: {"step": steps[name], **{kind: moments[kind][name] for kind in MOMENTS}}
        for index, name in enumerate(names)
        if name in moments[MOMENTS[0]]
    }
    return {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}


def load_moments(model: ShardedModel, optimizer: torch.optim.Optimizer, saved: dict[int, dict[str, Tensor]]) -> None:
    """Take this process's part of what `moments_of` gave, in whatever layout that was."""
    parameters = dict(model.named_parameters())
    for index, name in enumerate(trained_names(model)):
        if index not in saved:
            continue
        moments = {kind: torch.zeros_like(parameters[name]) for kind in MOMENTS}
        for kind, moment in moments.items():
            fill_like(model, name, saved[index][kind], moment)
        optimizer.state[parameters[name]] = {"step": saved[index]["step"].clone(), **moments}


def trained_names(model: ShardedModel) -> list[str]:
    """The optimizer's parameters in its order, which is that of one process too."""
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


def _moment(optimizer: torch.optim.Optimizer, kind: str, parameter: Tensor) -> Tensor | None:
    """None for a parameter that was never stepped."""
    found: Tensor | None = optimizer.state.get(parameter, {}).get(kind)
    return found
