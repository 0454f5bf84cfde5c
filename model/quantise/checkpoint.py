"""FP8 checkpoints in the layout of ModelOpt: e4m3 weights and fp32 scales under the released names.

    X.weight e4m3, X.weight_scale, X.input_scale        every linear layer that is not excluded: 5,968 for Nano
    k_proj.k_scale, v_proj.v_scale                      where the key-value cache is FP8
    gate.weight, e_score_correction_bias                fp32; everything else as the model has it: 32.68 GB in all

Writing quantises a piece of a tensor at a time, on its way to disk: no second copy of the model.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from model.checkpoint import state_tensors, stored_tensors
from model.checkpoint_file import Source, StoredTensor, TensorSource
from model.checkpoint_folder import (
    SHARD_BYTES,
    copy_companions,
    replace_directory,
    truncated,
    write_config,
    write_weights,
)
from model.checkpoint_names import misfits
from model.checkpoint_pieces import PIECE_BYTES, staging
from model.checkpoint_read import read_into
from model.config import HybridConfig
from model.counting import tensor_shapes
from model.kernels.fp8 import E4M3, dequantise, quantise
from model.layers.moe import Experts
from model.quantise.fake import CachedLinear
from model.quantise.modelopt import Described, describe, read_description, read_shape
from model.quantise.scales import Scales
from model.quantise.sites import Site, linear_of, sites, substitute
from model.quantise.static import Fp8Experts, Fp8Linear
from model.stack import HybridModel

Form = Literal["fp8", "emulated", "dequantised"]
SCALES = ("weight_scale", "input_scale")
_CACHED_NUMBERS = 1 << 17
_CACHE_SCALE = {"k_proj": "k_scale", "v_proj": "v_scale"}


class QuantisedSource:
    """A weight in memory, stored as e4m3."""

    dtype = E4M3

    def __init__(self, tensor: Tensor, scale: Tensor) -> None:
        self.tensor, self.scale, self.shape = tensor.detach(), scale, tuple(tensor.shape)
        self.piece_bytes = PIECE_BYTES if tensor.is_contiguous() else max(1, tensor.numel())

    def rows(self, first: int, last: int) -> Tensor:
        """Rows first..last as contiguous e4m3 numbers on the CPU, rounded a few rows at a time, within the cache."""
        part, scale = self.tensor[first:last], self.scale.to(self.tensor.device)
        turned = not part.is_contiguous() and part.t().is_contiguous()
        part = part.t() if turned else part
        rounded = staging(E4M3, tuple(part.shape))
        step = max(1, _CACHED_NUMBERS // max(1, part.shape[1]))
        for start in range(0, len(part), step):
            rounded[start : start + step].copy_(quantise(part[start : start + step], scale))
        # torch turns a matrix of bytes faster than one of e4m3 numbers.
        return rounded.t().view(torch.uint8).contiguous().view(E4M3) if turned else rounded


def save_quantised(
    model: HybridModel,
    scales: Scales,
    directory: str | os.PathLike[str],
    companions: str | os.PathLike[str] | None = None,
    max_shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write the model, plain or fake-quantised, with the layers in `scales` as e4m3.

    Tokenizer and template come along from the checkpoint `companions`. The directory appears complete or not at all,
    as with `save_pretrained`. Raises ValueError when a scale is missing.
    """
    sources = dict(_sources(model, scales))
    excluded = [name for name in _candidates(model) if name not in scales.weights]

    def write(fresh: Path) -> None:
        if companions is not None:
            copy_companions(Path(companions), fresh)
        write_config(model.config, model.dtype, fresh)
        describe(fresh, excluded, bool(scales.cache))
        write_weights(sources, fresh, max_shard_bytes)

    replace_directory(Path(directory).absolute(), write)


def load_quantised(
    directory: str | os.PathLike[str],
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    form: Form = "fp8",
) -> HybridModel:
    """Read an FP8 checkpoint. dtype is what everything else computes in (None: that of the stored embeddings).

    form: "fp8" keeps e4m3 weights and multiplies them as such; "emulated" keeps them and computes as fake
    quantisation does, bit for bit; "dequantised" gives a plain model with the numbers of the weights, nothing rounded
    on the way in, for decoding and training. Raises ValueError that names every tensor that is wrong.
    """
    source, place = Path(directory), torch.device(device or "cpu")
    config, described, found = read_shape(source), read_description(source), stored_tensors(source)
    quantised = {name for name, _ in _linear_shapes(config) if not described.excludes(name)}
    embeddings = found.get("backbone.embeddings.weight")
    main = dtype or (embeddings.dtype if embeddings is not None and embeddings.dtype else torch.float32)
    model = HybridModel(config, device="meta", dtype=main)
    _refuse_misfits(source, model, found, quantised, described)
    if dtype is None:
        for index, block in enumerate(model.blocks()):
            _keep_gate(block.mixer, found.get(f"backbone.layers.{index}.mixer.gate.weight"))
    later = {id(site.module) for site in sites(model) if site.names[0] in quantised and form != "dequantised"}
    for module in model.modules():
        if id(module) not in later:
            module._apply(lambda t: torch.empty_like(t, device=place), recurse=False)
    for mixer in model.moe_layers():
        mixer.expert_counts.zero_()
    plain = [(name, target) for name, target in state_tensors(model) if name.removesuffix(".weight") not in quantised]
    read_into((found[name], target) for name, target in plain)
    if form == "dequantised":
        _fill_dequantised(model, found, quantised)
    else:
        substitute(model, _reader(found, quantised, described, main, place, form == "emulated"))
    return model


def _sources(model: HybridModel, scales: Scales) -> Iterator[tuple[str, Source]]:
    for name, tensor in state_tensors(model):
        module = name.removesuffix(".weight")
        if module in scales.weights:
            yield name, QuantisedSource(tensor, scales.weights[module])
            if module not in scales.inputs:
                raise ValueError(f"{module} has a scale for its weight and none for its input")
            for kind, held in zip(SCALES, (scales.weights, scales.inputs), strict=True):
                yield f"{module}.{kind}", TensorSource(held[module], torch.float32)
        elif module.endswith(".gate"):
            yield name, TensorSource(tensor, torch.promote_types(tensor.dtype, torch.float32))
        else:
            yield name, TensorSource(tensor)
    for module, scale in scales.cache.items():
        yield f"{module}.{_CACHE_SCALE[module.rpartition('.')[2]]}", TensorSource(scale, torch.float32)


def _candidates(model: HybridModel) -> list[str]:
    """Every module of the released layout that a quantiser would look at: linear layers, and the convolutions."""
    names = [name for name, _ in _linear_shapes(model.config)]
    convolutions = [name.removesuffix(".weight") for name, _ in tensor_shapes(model.config) if "conv1d.weight" in name]
    return [*names, *convolutions]


def _linear_shapes(config: HybridConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    for name, shape in tensor_shapes(config):
        if name.endswith("_proj.weight") or name == "lm_head.weight":
            yield name.removesuffix(".weight"), shape


def _refuse_misfits(
    source: Path,
    model: HybridModel,
    found: Mapping[str, StoredTensor],
    quantised: set[str],
    described: Described,
) -> None:
    """Compare everything that is stored with everything that should be, before anything is read."""
    extra = {f"{name}.{kind}" for name in quantised for kind in SCALES}
    optional = {
        f"{name}.{_CACHE_SCALE[name[-6:]]}" for name, _ in _linear_shapes(model.config) if name[-6:] in _CACHE_SCALE
    }
    targets = dict(state_tensors(model))
    plain = {name: tensor for name, tensor in targets.items() if name.removesuffix(".weight") not in quantised}
    rest = {k: v for k, v in found.items() if k not in extra | optional and k.removesuffix(".weight") not in quantised}
    problems = misfits(plain, rest)
    for module in sorted(quantised):
        weight = found.get(f"{module}.weight")
        if weight is None:
            problems.append(f"{module}.weight is missing")
        elif weight.dtype != E4M3:
            problems.append(f"{module}.weight is {weight.stored_as}, expected F8_E4M3: the config does not exclude it")
        elif weight.shape != tuple(targets[f"{module}.weight"].shape):
            shape = list(targets[f"{module}.weight"].shape)
            problems.append(f"{module}.weight has shape {list(weight.shape)}, expected {shape}")
    for name in sorted(extra | (optional & set(found))):
        if name not in found:
            problems.append(f"{name} is missing")
        elif found[name].shape not in ((), (1,)) or found[name].dtype is None:
            problems.append(f"{name} must be one number, got {list(found[name].shape)} of {found[name].stored_as}")
    problems += truncated(found)
    if problems:
        raise ValueError(f"{source} does not fit the model, {len(problems)} problems:\n  " + "\n  ".join(problems))


def _keep_gate(mixer: nn.Module, stored: StoredTensor | None) -> None:
    gate = getattr(mixer, "gate", None)
    if gate is not None and stored is not None and stored.dtype is not None:
        gate.weight = nn.Parameter(torch.empty_like(gate.weight, dtype=stored.dtype))


def _fill_dequantised(model: HybridModel, found: Mapping[str, StoredTensor], quantised: set[str]) -> None:
    with torch.no_grad():
        for name, target in state_tensors(model):
            module = name.removesuffix(".weight")
            if module in quantised:
                q, scale = _read(found[name]), _read_scale(found[f"{module}.weight_scale"])
                target.copy_(dequantise(q, scale, target.dtype))


def _reader(
    found: Mapping[str, StoredTensor],
    quantised: set[str],
    described: Described,
    dtype: torch.dtype,
    place: torch.device,
    emulate: bool,
) -> Callable[[Site], nn.Module | None]:
    def make(site: Site) -> nn.Module | None:
        here = [name in quantised for name in site.names]
        if not any(here):
            if described.cache and len(site.names) == 3:
                return CachedLinear(linear_of(site), site.rows, _cache_scales(site, found, place))
            return None
        if not all(here):
            raise ValueError(f"{', '.join(site.names[:3])} are one module here: all of them are excluded or none")
        if len(site.names) == 3:
            raise ValueError(f"{', '.join(site.names)} are FP8: attention projections are served unquantised only")
        scales = [
            torch.stack([_read_scale(found[f"{name}.{kind}"]) for name in site.names]).to(place) for kind in SCALES
        ]
        if isinstance(site.module, Experts):
            ups, downs = _read_blocks(site, found)
            return Fp8Experts(ups.to(place), downs.to(place), scales[0], scales[1], dtype, emulate)
        weight = _read(found[f"{site.names[0]}.weight"]).to(place)
        return Fp8Linear(weight, scales[0][0], scales[1][0], dtype, emulate)

    return make


def _read(stored: StoredTensor) -> Tensor:
    assert stored.dtype is not None
    target = torch.empty(stored.shape, dtype=stored.dtype)
    read_into([(stored, target)])
    return target


def _read_scale(stored: StoredTensor) -> Tensor:
    """A scalar, also where it is stored as a list of one."""
    scale = _read(stored).to(torch.float32).reshape(())
    if not bool(torch.isfinite(scale)) or not bool(scale > 0):
        raise ValueError(f"{stored.file}: a scale must be a positive number, found {float(scale)}")
    return scale


def _read_blocks(site: Site, found: Mapping[str, StoredTensor]) -> tuple[Tensor, Tensor]:
    """All up_proj [E, I, D] and all down_proj [E, D, I], read straight into their blocks."""
    count = len(site.names) // 2
    blocks = []
    for names in (site.names[:count], site.names[count:]):
        stored = [found[f"{name}.weight"] for name in names]
        block = torch.empty((count, *stored[0].shape), dtype=E4M3)
        read_into(zip(stored, block, strict=True))
        blocks.append(block)
    return blocks[0], blocks[1]


def _cache_scales(site: Site, found: Mapping[str, StoredTensor], place: torch.device) -> list[Tensor]:
    """Scales of keys and values; 1.0 where the checkpoint has none, as vLLM takes it."""
    names = [f"{name}.{_CACHE_SCALE[name.rpartition('.')[2]]}" for name in site.names[1:]]
    return [_read_scale(found[name]).to(place) if name in found else torch.ones((), device=place) for name in names]
