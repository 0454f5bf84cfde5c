"""Checkpoints of a model in any layout, under the released names: what one layout saves, any other loads.

save: parameters travel to process 0 one after the other and are written there as one model, so the files do not know
      of the layout; process 0 needs memory for the whole model on its host (Nano in bf16: 63 GB).
load: every process reads one layer at a time, of the experts only its own, and keeps its part of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.fsdp import MixedPrecisionPolicy

from model.checkpoint import read_config, save_pretrained, stored_tensors
from model.checkpoint_file import StoredTensor
from model.checkpoint_names import IGNORED, misfits, state_tensors
from model.checkpoint_read import read_into
from model.config import MOE, HybridConfig
from model.layers.moe import MoEMixer
from model.parallel.parallelise import ONE_DTYPE, empty_share, fill, gather_parameters
from model.parallel.placement import share
from model.parallel.ranks import Ranks
from model.parallel.sharded_model import ShardedModel
from model.stack import HybridModel


def save_parallel(
    model: ShardedModel, directory: str | os.PathLike[str], also: Callable[[Path], None] | None = None
) -> None:
    """As `save_pretrained`; every process calls it, process 0 writes, and all go on once the checkpoint is there.

    Raises on process 0 what `save_pretrained` raises; the others then get RankLost.
    """
    whole = whole_model(model)
    if whole is not None:
        save_pretrained(whole, directory, also)
    dist.barrier()


def whole_model(model: ShardedModel) -> HybridModel | None:
    """The model in one piece on the CPU of process 0 (None on the others); every process calls it."""
    parameters = gather_parameters(model)
    if dist.get_rank() != 0:
        return None
    whole = HybridModel(model.config, device="meta", dtype=next(model.parameters()).dtype)
    whole.load_state_dict(parameters, strict=False, assign=True)
    for theirs, ours in zip(whole.moe_layers(), model.moe_layers(), strict=True):
        theirs.gate.e_score_correction_bias = ours.gate.e_score_correction_bias.cpu().clone()
        theirs.expert_counts = torch.zeros(theirs.expert_counts.shape, dtype=torch.int64)
    return whole


def load_parallel(
    directory: str | os.PathLike[str],
    ranks: Ranks,
    dtype: torch.dtype = torch.float32,
    policy: MixedPrecisionPolicy = ONE_DTYPE,
) -> ShardedModel:
    """Read a checkpoint, ours or released, into a layout. All parameters become `dtype`: FSDP2 wants one per unit.

    policy: as in `parallelise`. Raises FileNotFoundError or ValueError as `load_pretrained`, before anything is read.
    """
    source = Path(directory)
    config, found = read_config(source), stored_tensors(source)
    _check(source, config, found)
    model = empty_share(config, ranks, dtype, policy)
    _read_share(model, found, dtype)
    return model


def read_share(model: ShardedModel, directory: str | os.PathLike[str]) -> None:
    """Read a checkpoint into a model that is there already. Raises as `load_parallel`; no process waits for another."""
    source = Path(directory)
    found = stored_tensors(source)
    _check(source, model.config, found)
    _read_share(model, found, model.dtype)


def _read_share(model: ShardedModel, found: dict[str, StoredTensor], dtype: torch.dtype) -> None:
    for name, stored in (
        ("embeddings.weight", found["backbone.embeddings.weight"]),
        ("norm_f.weight", found["backbone.norm_f.weight"]),
        ("lm_head.weight", found["lm_head.weight"]),
    ):
        whole = torch.empty(stored.shape, dtype=dtype)
        read_into([(stored, whole)])
        fill(model, name, whole)
    for index, kind in enumerate(model.config.hybrid_override_pattern):
        _load_layer(model, index, kind, found, dtype)


def _load_layer(model: ShardedModel, index: int, kind: str, found: dict[str, StoredTensor], dtype: torch.dtype) -> None:
    """One layer, whole, through memory; what is not read of it is never touched, so it takes none."""
    one = HybridModel(replace(model.config, hybrid_override_pattern=kind), device="meta", dtype=dtype)
    one.layers[0].to_empty(device="cpu")
    here, there = "backbone.layers.0.", f"backbone.layers.{index}."
    others = _experts_of_others(model) if kind == MOE else set()
    pairs: list[tuple[StoredTensor, Tensor]] = []
    for name, target in state_tensors(one):
        inner = name.removeprefix(here)
        if name.startswith(here) and inner.rsplit(".", 2)[0] not in others:
            pairs.append((found[there + inner], target))
    read_into(pairs)
    for inner, parameter in one.layers[0].named_parameters():
        fill(model, f"layers.{index}.{inner}", parameter.detach())
    for mixer in one.moe_layers():
        ours = model.get_submodule(f"layers.{index}.mixer")
        assert isinstance(ours, MoEMixer)
        ours.gate.e_score_correction_bias.copy_(mixer.gate.e_score_correction_bias)


def _experts_of_others(model: ShardedModel) -> set[str]:
    """The released names, within a layer, of experts that this process does not hold."""
    ep, count = model.ranks.ep, model.config.n_routed_experts
    own = range(*share(count, ep.size, ep.rank))
    return {f"mixer.experts.{expert}" for expert in range(count) if expert not in own}


def _check(source: Path, config: HybridConfig, found: dict[str, StoredTensor]) -> None:
    problems = misfits(dict(state_tensors(HybridModel(config, device="meta"))), found) + list(_truncated(found))
    if problems:
        raise ValueError(f"{source} does not fit the model, {len(problems)} problems:\n  " + "\n  ".join(problems))


def _truncated(found: dict[str, StoredTensor]) -> Iterator[str]:
    for name, tensor in found.items():
        if tensor.truncated and not name.startswith(IGNORED):
            yield f"{name} is truncated: {tensor.file.name} ends before it does"
