"""`palaestra model`: how large a model is, checkpoints in other dtypes and shards, its speed, a talk with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from palaestra.commands.model_quantize import quantize
from palaestra.options import json_option, parse_overrides, print_json, print_table

if TYPE_CHECKING:
    from model.config import HybridConfig

DTYPES = ("float32", "bfloat16", "float16")
LENGTHS = (8192, 49152, 262144, 1048576)
"""Tokens at which the memory of one sequence is told: a long answer, RL's longest, the model's own limit, 1M."""


@click.group("model")
def command() -> None:
    """Sizes, conversion, speed and talk: a checkpoint by its folder, the published model by the name `nano`."""


@command.command("info")
@click.argument("model")
@click.option("--set", "overrides", multiple=True, metavar="FIELD=VALUE", help="another shape, n_routed_experts=64")
@json_option
def info(model: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Count MODEL (`nano`, `tiny` or a checkpoint's folder): parameters, bytes, memory by length. Allocates nothing."""
    found = described(model, overrides)
    if as_json:
        print_json(found)
        return
    click.echo(f"{model}  {found['pattern']}")
    print_table(["what", "value"], [{"what": name, "value": text} for name, text in _lines(found)])
    columns = ["tokens", "bf16_gib", "fp8_kv_gib"]
    click.echo("memory of one sequence while it is decoded")
    print_table(columns, _in_gib(found["memory_at_length"]))


@command.command("convert")
@click.argument("source", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--dtype", type=click.Choice(DTYPES), help="the dtype of the copy; each tensor's own where not given")
@click.option("--max-shard-gb", default=5.0, show_default=True, type=click.FloatRange(min=0, min_open=True))
@json_option
def convert(source: Path, target: Path, dtype: str | None, max_shard_gb: float, as_json: bool) -> None:
    """Write the checkpoint SOURCE again as TARGET, a piece at a time; tokenizer and template come along."""
    import time

    import torch

    from model import checkpoint

    began = time.perf_counter()
    with _said(source):
        checkpoint.convert(source, target, getattr(torch, dtype) if dtype else None, int(max_shard_gb * 1e9))
    stored = checkpoint.stored_tensors(target)
    result = {
        "target": str(target),
        "tensors": len(stored),
        "files": len({tensor.file for tensor in stored.values()}),
        "bytes": sum(tensor.nbytes for tensor in stored.values()),
        "seconds": round(time.perf_counter() - began, 3),
    }
    if as_json:
        print_json(result)
        return
    print_table(list(result), [result])


@command.command("bench")
@click.argument("model", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--dtype", default="float32", show_default=True, type=click.Choice(DTYPES))
@click.option("--device", default="cpu", show_default=True)
@click.option("--length", default=128, show_default=True, type=click.IntRange(2), help="tokens of each sequence")
@click.option("--seconds", default=1.0, show_default=True, type=click.FloatRange(min=0), help="spent on each row")
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1), help="CPU threads")
@json_option
def bench(model: Path, dtype: str, device: str, length: int, seconds: float, threads: int, as_json: bool) -> None:
    """Time a checkpoint: training step, prefill, decoding at batch 1, 16 and 64. Its files are not changed."""
    import torch

    from model.checkpoint import load_pretrained
    from model.timing import model_rows
    from palaestra.policies import find_checkpoint

    torch.set_num_threads(threads)
    folder = find_checkpoint(model)
    with _said(folder):
        loaded = load_pretrained(folder, device=device, dtype=getattr(torch, dtype))
    rows = model_rows(loaded, seconds, length)
    if as_json:
        print_json({"model": str(folder), "device": device, "dtype": dtype, "threads": threads, "rows": rows})
        return
    print_table(["what", "ms", "tokens_per_s"], rows, title=f"{folder}, {dtype}, {device}, {threads} thread(s)")


@command.command("compile")
@click.option("--into", type=click.Path(file_okay=False, path_type=Path), help="make one for every kind of processor")
def compile_layers(into: Path | None) -> None:
    """Compile the layers of small models now: for this machine, into its cache, which a first model would do by itself.

    With --into, for machines without a compiler: they find them in the folder that PALAESTRA_NATIVE_PREBUILT names.
    """
    from gym_core.errors import BadRequest
    from model.kernels.native import build, prebuilt

    try:
        made = [build.build(prebuilt.REAL)] if into is None else prebuilt.make(into)
    except build.NoLibrary as error:
        raise BadRequest(str(error), hint="models are computed without them too, small ones more slowly") from None
    except OSError as error:
        raise BadRequest(f"{into} cannot be written: {error.strerror}", field="into") from None
    for file in made:
        click.echo(f"{file}  {file.stat().st_size / 1e6:.1f} MB")


def _chat_command() -> click.Command:
    """`palaestra chat`, under this group too."""
    from palaestra.commands import chat

    return chat.command


command.add_command(quantize)
command.add_command(_chat_command(), "chat")


def described(model: str, overrides: tuple[str, ...] = ()) -> dict[str, Any]:
    """Everything that can be counted of a model. Raises BadRequest for a model or field that does not exist."""
    from model import counting
    from model.stack import HybridModel

    config, stored = _config_of(model)
    config = _overridden(config, parse_overrides(overrides))
    counts, fp8 = config.count_parameters(), counting.fp8_size(config)
    # Counted on the meta device, where a model has shapes and no memory; the closed form must say the same.
    parameters = sum(parameter.numel() for parameter in HybridModel(config, device="meta").parameters())
    assert parameters == counts.total, f"{parameters} parameters on the meta device, {counts.total} by the closed form"
    found: dict[str, Any] = {
        "model": model,
        "parameters": parameters,
        "parameters_active": counts.active,
        "parameters_active_with_embeddings": counts.active_with_embeddings,
        "selection_biases": sum(numel for _, numel in _biases(config)),
        "tensors": sum(1 for _ in counting.tensor_shapes(config)),
        "pattern": config.hybrid_override_pattern,
        "layers": {kind: len(config.layer_indices(kind)) for kind in "ME*"},
        "fp32_bytes": counting.checkpoint_bytes(config, counting.FP32_BYTES),
        "bf16_bytes": counting.checkpoint_bytes(config),
        "fp8_bytes": fp8.nbytes,
        "fp8_linears": fp8.linears,
        "fp8_excluded_modules": len(counting.fp8_excluded(config)),
        "state_bytes_per_sequence": counting.state_bytes(config),
        "kv_bytes_per_token": counting.kv_bytes_per_token(config),
        "memory_at_length": [
            {
                "tokens": length,
                "bf16_bytes": counting.sequence_bytes(config, length),
                "fp8_kv_bytes": counting.state_bytes(config)
                + length * counting.kv_bytes_per_token(config, counting.FP8_BYTES),
            }
            for length in LENGTHS
        ],
    }
    return found | ({} if overrides or stored is None else {"stored": stored})


def _config_of(model: str) -> tuple[HybridConfig, dict[str, Any] | None]:
    """The shape of a model, and for a checkpoint what lies on disk."""
    from gym_core.errors import UnknownName
    from model.checkpoint import read_config, stored_tensors
    from model.config import HybridConfig
    from palaestra.policies import find_checkpoint

    if model == "nano":
        return HybridConfig.nano(), None
    if model == "tiny":
        return HybridConfig.tiny(1024), None
    path = Path(model)
    if not path.exists():
        raise UnknownName(
            f"{model!r} is neither a folder nor a known model", field="model", hint="nano, tiny, or a checkpoint"
        )
    folder = find_checkpoint(path)
    with _said(folder):
        config, tensors = read_config(folder), stored_tensors(folder)
    dtypes: dict[str, int] = {}
    for tensor in tensors.values():
        dtypes[tensor.stored_as] = dtypes.get(tensor.stored_as, 0) + 1
    files = {tensor.file for tensor in tensors.values()}
    stored = {
        "tensors": len(tensors),
        "files": len(files),
        "bytes": sum(tensor.nbytes for tensor in tensors.values()),
        "tensors_by_dtype": dtypes,
    }
    return config, stored


def _overridden(config: HybridConfig, values: dict[str, Any]) -> HybridConfig:
    from dataclasses import fields, replace

    from gym_core.errors import BadRequest
    from gym_core.nearest import hint

    names = [field.name for field in fields(config)]
    for name in values:
        if name not in names:
            raise BadRequest(f"a model has no field {name!r}", field="--set", hint=hint(name, names))
    plain: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    try:
        return replace(config, **plain)
    except ValueError as error:
        raise BadRequest(str(error), field="--set") from None


def _biases(config: HybridConfig) -> list[tuple[str, int]]:
    from model.counting import tensor_shapes

    return [(name, shape[0]) for name, shape in tensor_shapes(config) if name.endswith("e_score_correction_bias")]


@contextmanager
def _said(folder: Path) -> Iterator[None]:
    """Turns what is wrong with a checkpoint into one error for the user."""
    from gym_core.errors import BadRequest

    try:
        yield
    except (ValueError, OSError) as error:
        raise BadRequest(str(error), field=str(folder)) from None


def _lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    """The table for people: counts with thousands apart, bytes in GB."""
    lines = []
    for name, value in found.items():
        if name in ("model", "pattern", "memory_at_length"):
            continue
        if isinstance(value, dict):
            text = ", ".join(f"{key} {_number(key, part)}" for key, part in value.items())
        else:
            text = _number(name, value)
        lines.append((name.replace("_", " "), text))
    return lines


def _number(name: str, value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key}:{part:,}" for key, part in value.items())
    if not isinstance(value, int):
        return str(value)
    if "bytes" in name and value > 1e9:
        return f"{value:,} ({value / 1e9:.2f} GB)"
    if "bytes" in name and value > 2**20:
        return f"{value:,} ({value / 2**20:.1f} MiB)"
    return f"{value:,}" + (f" ({value / 1e9:.3f}B)" if value > 1e8 else "")


def _in_gib(rows: list[dict[str, int]]) -> list[dict[str, Any]]:
    return [
        {
            "tokens": f"{row['tokens']:,}",
            "bf16_gib": row["bf16_bytes"] / 2**30,
            "fp8_kv_gib": row["fp8_kv_bytes"] / 2**30,
        }
        for row in rows
    ]
