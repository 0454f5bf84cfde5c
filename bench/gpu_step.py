"""A training step of the published shape on one GPU: MFU and peak memory, by full-size layers at a truncated depth.

The whole model does not fit one GPU in training, one layer of each kind does. A stack with one of each is timed, then
stacks with one more of one kind; the difference is that kind's layer, the rest is embeddings, head and loss:

    t(kind) = t(ME* and one more kind) - t(ME*)          t(rest) = t(ME*) - Σ t(kind)
    t(full) = t(rest) + Σ count(kind) · t(kind)          MFU = FLOPs of a step / (t · peak of the data sheet)

and peak memory likewise. FLOPs of a step are 6 per active parameter and token, and the products of queries with keys.
It is what one GPU would need if it held everything: no communication is in it, `palaestra plan` adds that.
Needs a CUDA device; without one it says `not run: no GPU` and measures nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import Any, NamedTuple

import torch

from model.config import HybridConfig
from model.stack import HybridModel
from model.timing import best_ms, train_step
from trainer.plan import GPUS

KINDS = "ME*"
NOT_RUN = "not run: no GPU (torch sees no CUDA device)"


class Cost(NamedTuple):
    """Milliseconds of a step, and its peak of memory in bytes."""

    ms: float
    nbytes: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--tokens", type=int, default=8192, help="tokens of a step")
    parser.add_argument("--length", type=int, default=2048, help="tokens of each packed sequence")
    parser.add_argument("--seconds", type=float, default=5.0, help="about how long each stack is timed")
    parser.add_argument("--gpu", choices=sorted(GPUS), default="h200", help="whose data sheet MFU is a share of")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print(json.dumps({"not_run": NOT_RUN}) if options.json else NOT_RUN)
        return
    lengths = [options.length] * max(options.tokens // options.length, 1)
    config = HybridConfig.nano()
    costs = {
        pattern: step_cost(truncated(config, pattern), lengths, options.seconds)
        for pattern in (KINDS, *(KINDS + kind for kind in KINDS))
    }
    found = scaled(config, costs, lengths, GPUS[options.gpu].flops)
    found |= {"device": torch.cuda.get_device_name(), "data_sheet": options.gpu, "torch": torch.__version__}
    print(json.dumps(found, indent=1) if options.json else table(found))


def truncated(config: HybridConfig, pattern: str) -> HybridConfig:
    return dataclasses.replace(config, hybrid_override_pattern=pattern)


def step_cost(config: HybridConfig, lengths: list[int], seconds: float) -> Cost:
    """Time and peak memory of a bf16 training step with AdamW."""
    device = torch.device("cuda")
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    model = HybridModel(config, device=device, dtype=torch.bfloat16)
    ms = best_ms({"step": train_step(model, lengths)}, seconds, device)["step"]
    return Cost(ms, float(torch.cuda.max_memory_allocated()))


def scaled(config: HybridConfig, costs: dict[str, Cost], lengths: list[int], peak: float) -> dict[str, Any]:
    """From the costs of `KINDS` and of `KINDS` with one more of each kind: every layer's cost, and the full depth's."""
    base = costs[KINDS]
    layer = {kind: Cost(*(a - b for a, b in zip(costs[KINDS + kind], base, strict=True))) for kind in KINDS}
    count = {kind: config.hybrid_override_pattern.count(kind) for kind in KINDS}
    full = Cost(*(base[i] + sum((count[kind] - 1) * layer[kind][i] for kind in KINDS) for i in range(2)))
    return {
        "tokens": sum(lengths),
        "sequences": len(lengths),
        "layers": {kind: {"count": count[kind], "ms": layer[kind].ms, "bytes": layer[kind].nbytes} for kind in KINDS},
        "truncated": {"pattern": KINDS, "ms": base.ms, "peak_bytes": base.nbytes,
                      "mfu": mfu(truncated(config, KINDS), lengths, base.ms, peak)},
        "full_depth": {"layers": len(config.hybrid_override_pattern), "ms": full.ms, "peak_bytes": full.nbytes,
                       "mfu": mfu(config, lengths, full.ms, peak)},
    }  # fmt: skip


def step_flops(config: HybridConfig, lengths: list[int]) -> float:
    """Forward and backward: 6 per active parameter and token; causal attention 6 · length · width per token."""
    attention = config.hybrid_override_pattern.count("*") * config.num_attention_heads * config.head_dim
    return sum(6.0 * n * (config.count_parameters().active + attention * n) for n in lengths)


def mfu(config: HybridConfig, lengths: list[int], ms: float, peak: float) -> float:
    return step_flops(config, lengths) / (ms / 1e3 * peak)


def table(found: dict[str, Any]) -> str:
    lines = [f"{found['device']}: {found['tokens']} tokens in {found['sequences']} sequences, bf16, AdamW"]
    lines.append(f"{'layer':12}{'count':>7}{'ms':>10}{'GB':>9}")
    for kind, row in found["layers"].items():
        lines.append(f"{kind:12}{row['count']:>7}{row['ms']:>10.2f}{row['bytes'] / 1e9:>9.2f}")
    for name in ("truncated", "full_depth"):
        row = found[name]
        lines.append(f"{name:12}{'':7}{row['ms']:>10.2f}{row['peak_bytes'] / 1e9:>9.2f}   MFU {row['mfu']:.1%}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
