"""Checkpoints under the released names: config.json and safetensors that transformers and vLLM read, and read back.

Inside, experts and the query/key/value projections are joined blocks and convolution taps are [K, C]; names and shapes
are translated here, at the border, by views: reading a released tensor copies nothing, writing one fills its part.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from model.config import HybridConfig
from model.layers.attention import AttentionMixer
from model.layers.block import Block
from model.layers.mamba import MambaMixer
from model.layers.moe import MoEMixer
from model.stack import HybridModel

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
_SHARD_BYTES = 5_000_000_000
_BIAS = "e_score_correction_bias"
# Tensors of released checkpoints that this model has no use for (multi-token prediction).
_IGNORED = ("mtp.",)


def state_tensors(model: HybridModel) -> Iterator[tuple[str, Tensor]]:
    """Every parameter and buffer that makes the model, as views under its released name (some not contiguous)."""
    yield "backbone.embeddings.weight", model.embeddings.weight.detach()
    for index, block in enumerate(model.blocks()):
        prefix = f"backbone.layers.{index}"
        yield f"{prefix}.norm.weight", block.norm.weight.detach()
        for name, tensor in _mixer_tensors(block):
            yield f"{prefix}.mixer.{name}", tensor.detach()
    yield "backbone.norm_f.weight", model.norm_f.weight.detach()
    yield "lm_head.weight", model.lm_head.weight.detach()


def load_tensors(model: HybridModel, tensors: Mapping[str, Tensor]) -> None:
    """Overwrite every parameter and buffer in place, converting dtype and device.

    All problems are found before anything is written: raises ValueError that names each missing, unexpected,
    misshapen or too narrow tensor.
    """
    found = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}
    targets = _matched(model, found, "the given tensors")
    with torch.no_grad():
        for name, target in targets.items():
            target.copy_(tensors[name])


def checksum(tensors: Iterable[tuple[str, Tensor]]) -> dict[str, str]:
    """A hex digest per tensor over dtype, shape and bytes; equal digests mean bit-equal tensors."""
    digests = {}
    for name, tensor in tensors:
        flat = tensor.detach().to("cpu").contiguous()
        digest = hashlib.blake2b(f"{flat.dtype} {tuple(flat.shape)}".encode(), digest_size=16)
        digest.update(flat.flatten().view(torch.uint8).numpy().data)
        digests[name] = digest.hexdigest()
    return digests


def save_pretrained(
    model: HybridModel,
    directory: str | os.PathLike[str],
    also: Callable[[Path], None] | None = None,
    max_shard_bytes: int = _SHARD_BYTES,
) -> None:
    """Write config.json and weights; the directory appears, or replaces an older checkpoint, complete or not at all.

    `also` may add files (the tokenizer's) to the directory before it appears. Raises FileExistsError rather than
    replace a directory that holds something other than a checkpoint.
    """
    target = Path(directory).absolute()
    if target.exists() and not (target / "config.json").is_file() and (not target.is_dir() or any(target.iterdir())):
        raise FileExistsError(f"{target} exists and is not a checkpoint (it has no config.json); choose another name")
    target.parent.mkdir(parents=True, exist_ok=True)
    workplace = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        fresh = workplace / "new"
        fresh.mkdir()
        _write_config(model, fresh)
        _write_weights(model, fresh, max_shard_bytes)
        if also is not None:
            also(fresh)
        for file in fresh.iterdir():
            _flush(file)
        if target.exists():
            target.rename(workplace / "old")
        fresh.rename(target)
        _flush(target.parent)
    finally:
        if (workplace / "old").exists() and not target.exists():
            (workplace / "old").rename(target)
        shutil.rmtree(workplace)


def load_pretrained(
    directory: str | os.PathLike[str],
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> HybridModel:
    """Read a checkpoint of ours or a released one, in one file or in shards.

    Raises FileNotFoundError or ValueError that names the file and, for tensors, every one that is wrong.
    """
    source = Path(directory)
    config = HybridConfig.from_hf(_read_json(source / "config.json"))
    files = _shards(source)
    model = HybridModel(config, device="meta", dtype=dtype)
    found: dict[str, tuple[tuple[int, ...], torch.dtype]] = {}
    for file in files:
        found |= _header(file)
    _matched(model, found, str(source))
    model = model.to_empty(device=device or "cpu")
    for mixer in model.moe_layers():
        mixer.expert_counts.zero_()
    targets = dict(state_tensors(model))
    with torch.no_grad():
        for file in files:
            with safe_open(file, "pt") as shard:
                for name in shard.keys():  # noqa: SIM118 - not a dictionary
                    if name in targets:
                        targets[name].copy_(shard.get_tensor(name))
    return model


def _mixer_tensors(block: Block) -> Iterator[tuple[str, Tensor]]:
    mixer = block.mixer
    if isinstance(mixer, MambaMixer):
        yield "in_proj.weight", mixer.in_proj.weight
        yield "conv1d.weight", mixer.conv1d.weight.t().unsqueeze(1)
        yield "conv1d.bias", mixer.conv1d.bias
        yield from (("A_log", mixer.A_log), ("D", mixer.D), ("dt_bias", mixer.dt_bias))
        yield "norm.weight", mixer.norm.weight
        yield "out_proj.weight", mixer.out_proj.weight
    elif isinstance(mixer, AttentionMixer):
        shape = mixer.shape
        sizes = [heads * shape.head_dim for heads in (shape.num_heads, shape.num_kv_heads, shape.num_kv_heads)]
        for name, part in zip("qkv", mixer.qkv_proj.weight.detach().split(sizes), strict=True):
            yield f"{name}_proj.weight", part
        yield "o_proj.weight", mixer.o_proj.weight
    else:
        assert isinstance(mixer, MoEMixer)
        yield "gate.weight", mixer.gate.weight
        yield f"gate.{_BIAS}", mixer.gate.e_score_correction_bias
        for index in range(len(mixer.experts.up_proj)):
            yield f"experts.{index}.up_proj.weight", mixer.experts.up_proj[index]
            yield f"experts.{index}.down_proj.weight", mixer.experts.down_proj[index].t()
        yield "shared_experts.up_proj.weight", mixer.shared_experts.up_proj.weight
        yield "shared_experts.down_proj.weight", mixer.shared_experts.down_proj.weight


def _matched(
    model: HybridModel, found: Mapping[str, tuple[tuple[int, ...], torch.dtype]], source: str
) -> dict[str, Tensor]:
    """The model's released views, once `found` (shape and dtype by name) is known to fit them one to one."""
    targets = dict(state_tensors(model))
    problems = [f"{name} is missing" for name in targets if name not in found]
    for name, (shape, dtype) in found.items():
        if name not in targets:
            if not name.startswith(_IGNORED):
                problems.append(f"{name} is not part of this model")
        elif shape != tuple(targets[name].shape):
            problems.append(f"{name} has shape {list(shape)}, expected {list(targets[name].shape)}")
        elif name.endswith(_BIAS) and dtype not in (torch.float32, torch.float64):
            problems.append(f"{name} is {dtype}, expected float32 (rounding it moves the routing)")
    if problems:
        raise ValueError(f"{source} does not fit the model, {len(problems)} problems:\n  " + "\n  ".join(problems))
    return targets


def _write_config(model: HybridModel, directory: Path) -> None:
    dtype = str(model.dtype).removeprefix("torch.")
    config = model.config.to_hf() | {"torch_dtype": dtype}
    generation = {name: config[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    for name, content in (("config.json", config), ("generation_config.json", generation)):
        (directory / name).write_text(json.dumps(content, indent=2) + "\n")


def _write_weights(model: HybridModel, directory: Path, max_shard_bytes: int) -> None:
    shards: list[dict[str, Tensor]] = [{}]
    held = total = 0
    for name, tensor in state_tensors(model):
        if held and held + tensor.nbytes > max_shard_bytes:
            shards.append({})
            held = 0
        shards[-1][name] = tensor
        held += tensor.nbytes
        total += tensor.nbytes
    weight_map = {}
    for number, shard in enumerate(shards, 1):
        file = WEIGHTS if len(shards) == 1 else f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        # Views of one block must become tensors of their own before they can be stored.
        save_file(
            {name: tensor.to("cpu").clone().contiguous() for name, tensor in shard.items()},
            directory / file,
            metadata={"format": "pt"},
        )
        weight_map.update(dict.fromkeys(shard, file))
    if len(shards) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        (directory / INDEX).write_text(json.dumps(index, indent=2) + "\n")


def _shards(directory: Path) -> list[Path]:
    if (directory / WEIGHTS).is_file():
        return [directory / WEIGHTS]
    if not (directory / INDEX).is_file():
        raise FileNotFoundError(f"{directory} has neither {WEIGHTS} nor {INDEX}")
    weight_map = _read_json(directory / INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ValueError(f"{directory / INDEX} has no weight_map")
    files = [directory / name for name in sorted(set(weight_map.values()))]
    absent = [file.name for file in files if not file.is_file()]
    if absent:
        raise FileNotFoundError(f"{directory / INDEX} names shards that are not there: {absent}")
    return files


def _header(file: Path) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """Shape and dtype of every tensor in a file, without reading the tensors."""
    try:
        with safe_open(file, "pt") as shard:
            slices = {name: shard.get_slice(name) for name in shard.keys()}  # noqa: SIM118 - not a dictionary
            return {name: (tuple(part.get_shape()), _DTYPES[part.get_dtype()]) for name, part in slices.items()}
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"{file} is not a readable safetensors file: {error}") from error


_DTYPES = {"F64": torch.float64, "F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}


def _read_json(file: Path) -> dict[str, object]:
    if not file.is_file():
        raise FileNotFoundError(f"{file} does not exist")
    try:
        content = json.loads(file.read_text())
    except ValueError as error:
        raise ValueError(f"{file} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file} must hold a JSON object")
    return content


def _flush(path: Path) -> None:
    """Force a file or directory to disk, so that a rename never overtakes its content."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
