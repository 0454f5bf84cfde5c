"""`palaestra model quantize`: a checkpoint in selective FP8, as vLLM reads it, and which layers FP8 hurts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gym_core.errors import BadRequest
from palaestra.options import json_option, print_json, print_table

if TYPE_CHECKING:
    from model.quantise.sensitivity import Sensitivity
    from model.stack import HybridModel

SAMPLES = 128
COLUMNS = ["in FP8", "layers", "weights", "KL", "largest", "same top"]


@click.command("quantize")
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.argument("target", required=False, type=click.Path(path_type=Path))
@click.option(
    "--calibration",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSONL of samples: token_ids, text or messages in each line  [default: text the model writes itself]",
)
@click.option("--samples", type=click.IntRange(1), help=f"samples to calibrate on  [default: the file, or {SAMPLES}]")
@click.option("--length", default=256, show_default=True, type=click.IntRange(2), help="tokens of a sample at most")
@click.option("--kv-cache/--no-kv-cache", default=True, show_default=True, help="scales of an FP8 key-value cache")
@click.option("--sweep", is_flag=True, help="quantise one class of layers at a time, and tell how predictions move")
@click.option("--seed", default=0, show_default=True, help="of the text that the model writes")
@click.option("--device", default="cpu", show_default=True)
@json_option
def quantize(
    source: Path,
    target: Path | None,
    calibration: Path | None,
    samples: int | None,
    length: int,
    kv_cache: bool,
    sweep: bool,
    seed: int,
    device: str,
    as_json: bool,
) -> None:
    """Write SOURCE (a checkpoint, or a run's folder) as TARGET in FP8; with --sweep TARGET may be left out."""
    from model.checkpoint import load_pretrained
    from model.quantise.calibration import calibrate
    from palaestra.policies import find_checkpoint

    if target is None and not sweep:
        raise click.UsageError("give TARGET, where the quantised checkpoint goes, or --sweep")
    checkpoint = find_checkpoint(source)
    try:
        model = load_pretrained(checkpoint, device, dtype=None)
        drawn = _samples(model, checkpoint, calibration, samples, length, seed)
        amax = calibrate(model, drawn)
        result: dict[str, Any] = {"samples": amax.num_samples, "tokens": amax.num_tokens}
        if target is not None:
            result |= _write(model, amax, target, checkpoint, kv_cache)
        rows = _swept(model, amax, drawn) if sweep else []
    except (ValueError, OSError) as error:
        raise BadRequest(str(error), field="model") from None
    if as_json:
        print_json(result | ({"sweep": rows} if sweep else {}))
        return
    print_table(list(result), [result])
    if sweep:
        _print_sweep(rows)


def _samples(
    model: HybridModel, checkpoint: Path, file: Path | None, count: int | None, length: int, seed: int
) -> list[list[int]]:
    from model.quantise.samples import own_samples, read_samples

    if file is not None:
        return list(read_samples(file, checkpoint, count, length))
    return own_samples(model, count or SAMPLES, length, seed)


def _write(model: HybridModel, amax: Any, target: Path, companions: Path, kv_cache: bool) -> dict[str, Any]:
    from model.checkpoint import stored_tensors
    from model.quantise.checkpoint import save_quantised
    from model.quantise.modelopt import read_description
    from model.quantise.scales import scales_of

    scales = scales_of(model, amax, cache=kv_cache)
    save_quantised(model, scales, target, companions)
    return {
        "target": str(target),
        "fp8_linears": len(scales.weights),
        "excluded": len(read_description(target).excluded),
        "kv_cache": "fp8" if kv_cache else str(model.dtype).removeprefix("torch."),
        "bytes": sum(tensor.nbytes for tensor in stored_tensors(target).values()),
    }


def _swept(model: HybridModel, amax: Any, samples: list[list[int]]) -> list[dict[str, Any]]:
    from model.quantise.sensitivity import sensitivity_sweep

    return [_row(found) for found in sensitivity_sweep(model, amax, samples)]


def _row(found: Sensitivity) -> dict[str, Any]:
    return found._asdict() | {"saved_bytes": max(0, found.saved_bytes)}


def _print_sweep(rows: list[dict[str, Any]]) -> None:
    """KL as powers of ten: between classes it differs by orders of magnitude."""
    whole = rows[-1]["parameters"]
    shown = [
        {
            "in FP8": row["quantised"],
            "layers": row["linears"],
            "weights": f"{row['parameters'] / whole:.1%}",
            "KL": f"{row['kl_mean']:.1e}",
            "largest": f"{row['kl_max']:.1e}",
            "same top": f"{row['same_top_token']:.1%}",
        }
        for row in rows
    ]
    print_table(COLUMNS, shown, title="How far predictions move: KL against the model as it is, nats per token")
