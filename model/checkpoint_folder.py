"""The folder of a checkpoint: config.json, one safetensors file or shards with an index, and what lies beside them.

A folder is written under a hidden name and takes its own in one step, so that it is there whole or not at all.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from model.checkpoint_file import Source, StoredTensor, read_header, write_file
from model.checkpoint_names import IGNORED
from model.config import HybridConfig

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
SHARD_BYTES = 5_000_000_000


def read_config(directory: Path) -> HybridConfig:
    """The config.json of a checkpoint. Raises FileNotFoundError, or ValueError that names file and field."""
    return HybridConfig.from_hf(read_json(directory / "config.json"))


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


def truncated(found: Mapping[str, StoredTensor]) -> list[str]:
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


def write_config(config: HybridConfig, main: torch.dtype, directory: Path) -> None:
    """config.json and generation_config.json of a model whose matrices are of dtype `main`."""
    values = config.to_hf() | {"torch_dtype": str(main).removeprefix("torch.")}
    generation = {name: values[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    for name, content in (("config.json", values), ("generation_config.json", generation)):
        (directory / name).write_text(json.dumps(content, indent=2) + "\n")


def write_weights(sources: Mapping[str, Source], directory: Path, max_shard_bytes: int) -> None:
    """One file, or shards of at most max_shard_bytes (a tensor is never cut) and their index."""
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


def replace_directory(target: Path, write: Callable[[Path], None]) -> None:
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


def copy_companions(origin: Path, fresh: Path) -> None:
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
    weight_map = read_json(directory / INDEX).get("weight_map")
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


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises FileNotFoundError, and ValueError that names the file."""
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
