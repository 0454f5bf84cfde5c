"""Checkpoints under the released names: config.json and safetensors that transformers and vLLM read, and read back.

load: config.json -> model on the meta device -> headers of all files against it -> memory -> disk straight into place.
save: header, then tensor by tensor into shards of a hidden folder, which then takes the checkpoint's name.

The dtype of what is loaded follows one rule. Asked for a dtype, every tensor becomes it, apart from the selection bias
of the router, which is fp32 always. Asked for none, matrices that multiply take the dtype that most of them are stored
in, and whatever the maths reads in fp32 anyway (norms, convolutions, A_log, D, dt_bias, gates) stays as it is stored.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from model.checkpoint_file import (
    Source,
    StoredSource,
    StoredTensor,
    TensorSource,
    byte_view,
    read_header,
    read_into,
    write_file,
)
from model.checkpoint_names import BIAS, IGNORED, misfits, state_tensors
from model.config import HybridConfig
from model.huge_pages import prefer_huge_pages
from model.kernels.native.library import library
from model.stack import HybridModel

__all__ = [
    "checksum",
    "convert",
    "load_pretrained",
    "load_tensors",
    "read_config",
    "save_pretrained",
    "state_tensors",
    "stored_tensors",
]

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
SHARD_BYTES = 5_000_000_000


def load_tensors(model: HybridModel, tensors: Mapping[str, Tensor]) -> None:
    """Overwrite every parameter and buffer in place, converting dtype and device.

    All problems are found before anything is written: raises ValueError that names each missing, unexpected,
    misshapen or too narrow tensor.
    """
    targets = dict(state_tensors(model))
    _refuse("the given tensors", misfits(targets, tensors))
    with torch.no_grad():
        for name, target in targets.items():
            target.copy_(tensors[name])


def checksum(tensors: Iterable[tuple[str, Tensor]]) -> dict[str, str]:
    """A hex digest per tensor over dtype, shape and bytes; equal digests mean bit-equal tensors."""
    digests = {}
    for name, tensor in tensors:
        flat = tensor.detach().to("cpu").contiguous()
        digest = hashlib.blake2b(f"{flat.dtype} {tuple(flat.shape)}".encode(), digest_size=16)
        digest.update(byte_view(flat))
        digests[name] = digest.hexdigest()
    return digests


def save_pretrained(
    model: HybridModel,
    directory: str | os.PathLike[str],
    also: Callable[[Path], None] | None = None,
    max_shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write config.json and weights; the directory appears, or replaces an older checkpoint, complete or not at all.

    Each tensor is stored in the dtype it has. `also` may add files (the tokenizer's) to the directory before it
    appears. Raises FileExistsError rather than replace a directory that holds something other than a checkpoint.
    """

    def write(fresh: Path) -> None:
        _write_config(model.config, model.dtype, fresh)
        _write_weights({name: TensorSource(tensor) for name, tensor in state_tensors(model)}, fresh, max_shard_bytes)
        if also is not None:
            also(fresh)

    _replace_directory(Path(directory).absolute(), write)


def load_pretrained(
    directory: str | os.PathLike[str],
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = torch.float32,
) -> HybridModel:
    """Read a checkpoint of ours or a released one, in one file or in shards; dtype None keeps what is stored.

    Memory grows by the model and a buffer of a few MiB per thread, no more. Raises FileNotFoundError or ValueError
    that names the file and, for tensors, every one that is wrong; nothing is read before all of them fit.
    """
    source = Path(directory)
    config = read_config(source)
    found = stored_tensors(source)
    model = HybridModel(config, device="meta", dtype=dtype or _main_dtype(found))
    _refuse(str(source), misfits(dict(state_tensors(model)), found) + _truncated(found))
    if dtype is None:
        _keep_stored_dtypes(model, found)
    model = model.to_empty(device=device or "cpu")
    prefer_huge_pages(model.parameters())
    for mixer in model.moe_layers():
        mixer.expert_counts.zero_()
    read_into((found[name], target) for name, target in state_tensors(model))
    if model.device.type == "cpu":
        library(model.dtype)  # compiled now if need be, not under the first request
    return model


def convert(
    source: str | os.PathLike[str],
    directory: str | os.PathLike[str],
    dtype: torch.dtype | None = None,
    max_shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write a checkpoint again, in another dtype (selection biases stay fp32) or other shards, a piece at a time.

    Files beside the weights (tokenizer, template) come along; multi-token prediction is left out. Raises as
    `load_pretrained` and `save_pretrained`.
    """
    origin, target = Path(source).absolute(), Path(directory).absolute()
    config, found = read_config(origin), stored_tensors(origin)
    model = HybridModel(config, device="meta")
    _refuse(str(origin), misfits(dict(state_tensors(model)), found) + _truncated(found))
    sources: dict[str, Source] = {
        name: StoredSource(found[name], torch.float32 if name.endswith(BIAS) else dtype)
        for name, _ in state_tensors(model)
    }

    def write(fresh: Path) -> None:
        _copy_companions(origin, fresh)
        _write_config(config, dtype or _main_dtype(found), fresh)
        _write_weights(sources, fresh, max_shard_bytes)

    _replace_directory(target, write)


def read_config(directory: Path) -> HybridConfig:
    """The config.json of a checkpoint. Raises FileNotFoundError, or ValueError that names file and field."""
    return HybridConfig.from_hf(_read_json(directory / "config.json"))


def stored_tensors(directory: Path) -> dict[str, StoredTensor]:
    """Every tensor of a checkpoint by name, from the headers alone.

    Raises FileNotFoundError that names the shards that are not there, ValueError for files that cannot be read and
    for tensors that lie in two shards or in another than the index says.
    """
    files, weight_map = _shards(directory)
    found: dict[str, StoredTensor] = {}
    problems = []
    for file in files:
        try:
            header = read_header(file)
        except ValueError as error:
            problems.append(str(error))
            continue
        for name in header:
            if name in found:
                problems.append(f"{name} lies in {found[name].file.name} and again in {file.name}")
            if weight_map and weight_map.get(name, file.name) != file.name:
                problems.append(f"{name} lies in {file.name}, the index places it in {weight_map[name]}")
        found |= header
    if problems:
        raise ValueError("\n  ".join([f"{directory}:", *problems]) if len(problems) > 1 else problems[0])
    return found


def _refuse(source: str, problems: list[str]) -> None:
    if problems:
        raise ValueError(f"{source} does not fit the model, {len(problems)} problems:\n  " + "\n  ".join(problems))


def _truncated(found: Mapping[str, StoredTensor]) -> list[str]:
    """A line for each file that ends too early and for each tensor that is cut or gone with its end."""
    problems: dict[str, None] = {}
    for name, tensor in found.items():
        if tensor.truncated and not name.startswith(IGNORED):
            size = tensor.file.stat().st_size
            problems[f"{tensor.file.name} is not a readable safetensors file to its end: it was cut at byte {size}"] = (
                None
            )
            problems[f"{name} is truncated: it ends at byte {tensor.start + tensor.nbytes} of {tensor.file.name}"] = (
                None
            )
    return list(problems)


def _main_dtype(found: Mapping[str, StoredTensor]) -> torch.dtype:
    """The dtype that holds the most numbers of the matrices."""
    held: Counter[torch.dtype] = Counter()
    for tensor in found.values():
        if tensor.dtype is not None and tensor.dtype.is_floating_point and len(tensor.shape) == 2:
            held[tensor.dtype] += tensor.nbytes // tensor.dtype.itemsize
    return held.most_common(1)[0][0] if held else torch.float32


def _keep_stored_dtypes(model: HybridModel, found: Mapping[str, StoredTensor]) -> None:
    """Give every parameter on the meta device that no plain matrix product reads the dtype it is stored in."""
    for index, block in enumerate(model.blocks()):
        prefix = f"backbone.layers.{index}"
        for name, parameter in list(block.named_parameters()):
            stored = found.get(f"{prefix}.{name}")
            small = parameter.dim() == 1 or name.endswith(("conv1d.weight", "gate.weight"))
            if stored is not None and stored.dtype is not None and small:
                owner, _, leaf = name.rpartition(".")
                kept = nn.Parameter(torch.empty_like(parameter, dtype=stored.dtype))
                setattr(block.get_submodule(owner), leaf, kept)
    final = found["backbone.norm_f.weight"].dtype
    model.norm_f.weight = nn.Parameter(torch.empty_like(model.norm_f.weight, dtype=final))


def _write_config(config: HybridConfig, main: torch.dtype, directory: Path) -> None:
    values = config.to_hf() | {"torch_dtype": str(main).removeprefix("torch.")}
    generation = {name: values[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    for name, content in (("config.json", values), ("generation_config.json", generation)):
        (directory / name).write_text(json.dumps(content, indent=2) + "\n")


def _write_weights(sources: Mapping[str, Source], directory: Path, max_shard_bytes: int) -> None:
    shards: list[dict[str, Source]] = [{}]
    held = 0
    for name, source in sources.items():
        nbytes = torch.Size(source.shape).numel() * source.dtype.itemsize
        if held and held + nbytes > max_shard_bytes:
            shards.append({})
            held = 0
        shards[-1][name] = source
        held += nbytes
    weight_map, total = {}, 0
    for number, shard in enumerate(shards, 1):
        file = WEIGHTS if len(shards) == 1 else f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        total += write_file(directory / file, shard)
        weight_map.update(dict.fromkeys(shard, file))
    if len(shards) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        (directory / INDEX).write_text(json.dumps(index, indent=2) + "\n")


def _replace_directory(target: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a hidden folder, then give it the name of `target` in one step."""
    if target.exists() and not (target / "config.json").is_file() and (not target.is_dir() or any(target.iterdir())):
        raise FileExistsError(f"{target} exists and is not a checkpoint (it has no config.json); choose another name")
    target.parent.mkdir(parents=True, exist_ok=True)
    workplace = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        fresh = workplace / "new"
        fresh.mkdir()
        write(fresh)
        for path in (*fresh.rglob("*"), fresh):
            _flush(path)
        if target.exists():
            target.rename(workplace / "old")
        fresh.rename(target)
        _flush(target.parent)
    finally:
        if (workplace / "old").exists() and not target.exists():
            (workplace / "old").rename(target)
        shutil.rmtree(workplace)


def _copy_companions(origin: Path, fresh: Path) -> None:
    """Small files that belong to a model: everything but its weights and what is written anew."""
    ours = {"config.json", "generation_config.json", INDEX}
    for file in origin.iterdir():
        if file.is_file() and file.name not in ours and file.suffix not in (".safetensors", ".bin", ".pt"):
            shutil.copyfile(file, fresh / file.name)


def _shards(directory: Path) -> tuple[list[Path], dict[str, str]]:
    """The files of the weights, and by tensor name where the index places it (empty for a single file)."""
    if (directory / WEIGHTS).is_file():
        return [directory / WEIGHTS], {}
    if not (directory / INDEX).is_file():
        raise FileNotFoundError(f"{directory} has neither {WEIGHTS} nor {INDEX}")
    weight_map = _read_json(directory / INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ValueError(f"{directory / INDEX} has no weight_map")
    names = sorted({str(name) for name in weight_map.values()})
    strange = [name for name in names if Path(name).name != name]
    if strange:
        raise ValueError(f"{directory / INDEX} names shards outside its folder: {strange}")
    absent = [name for name in names if not (directory / name).is_file()]
    if absent:
        raise FileNotFoundError(f"{directory / INDEX} names shards that are not there: {absent}")
    return [directory / name for name in names], weight_map


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
