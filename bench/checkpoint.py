"""Loading and saving a checkpoint against raw reads and writes of the same bytes, in one run.

`raw read` and `raw write` move the same number of bytes between one file and plain memory with as many threads, as
`dd` would: the ceiling of this machine at this moment. Reads come from the page cache, into memory that is touched for
the first time (as a model's is) or again; writes end with fsync. All forms take turns, each keeps its best time, and
`of_raw` is the rate of a form over that of the raw form of the bytes that lie on disk. A load that converts writes
twice as much, or half of it: `of_copy` is its rate over that of torch.empty(...).copy_(...) from memory, of all numbers
at once. The model has Nano's layer shapes at truncated depth.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from model.checkpoint import load_pretrained, save_pretrained, state_tensors
from model.checkpoint_pieces import byte_view
from model.config import HybridConfig
from model.huge_pages import prefer_huge_pages
from model.stack import HybridModel

PIECE = 1 << 24


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the rows as one JSON object")
    parser.add_argument("--quick", action="store_true", help="fewer experts and turns")
    parser.add_argument("--experts", type=int, default=24, help="routed experts of the one MoE layer, 20 MB each")
    parser.add_argument("--rounds", type=int, default=4, help="turns of every form")
    parser.add_argument("--folder", type=Path, default=None, help="where to write; the system's temporary folder")
    options = parser.parse_args()
    experts, rounds = (8, 2) if options.quick else (options.experts, options.rounds)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        result = measure(Path(folder), experts, rounds)
    if options.json:
        print(json.dumps(result, indent=1))
        return
    print(f"{result['bytes'] / 1e9:.2f} GB in bf16, {result['threads']} threads")
    print(f"{'what':32}{'seconds':>10}{'GB/s':>8}{'of_raw':>8}{'of_copy':>9}")
    for row in result["rows"]:
        copied = f"{row['of_copy']:>9.2f}" if "of_copy" in row else ""
        print(f"{row['what']:32}{row['seconds']:>10.3f}{row['gb_per_s']:>8.2f}{row['of_raw']:>8.2f}{copied}")


AGAINST = {
    "save": "raw write, fsync",
    "load": "raw read, fresh memory",
    "load as fp32": "raw read, fresh memory",
    "load fp32 as bf16": "raw read, twice the bytes",
}
CONVERTED = {"load as fp32": "copy_ to fp32", "load fp32 as bf16": "copy_ to bf16"}


def measure(folder: Path, experts: int, rounds: int) -> dict[str, Any]:
    """Rows of what, seconds, gb_per_s (of what lies on disk), of_raw and, for conversions, of_copy."""
    model = filled(
        replace(HybridConfig.nano(), hybrid_override_pattern="ME*", n_routed_experts=experts, vocab_size=16384)
    )
    size = sum(tensor.nbytes for _, tensor in state_tensors(model))
    threads = min(8, os.cpu_count() or 1)
    best = _best(_forms(folder, model, size, threads), rounds, folder)
    rows: list[dict[str, Any]] = []
    for name, took in best.items():
        moved = 2 * size if name in ("load fp32 as bf16", "raw read, twice the bytes", "copy_ to bf16") else size
        row = {"what": name, "seconds": round(took, 4), "gb_per_s": round(moved / took / 1e9, 3)}
        row["of_raw"] = round(best[AGAINST.get(name, name)] / took, 3)
        if name in CONVERTED:
            row["of_copy"] = round(best[CONVERTED[name]] / took, 3)
        rows.append(row)
    return {"bytes": size, "threads": threads, "rows": rows}


def _forms(folder: Path, model: HybridModel, size: int, threads: int) -> dict[str, Callable[[], object]]:
    plain = torch.full((2 * size,), 7, dtype=torch.uint8)
    raw, wide = folder / "raw", folder / "raw32"
    save_pretrained(model, folder / "saved")
    save_pretrained(load_pretrained(folder / "saved", dtype=torch.float32), folder / "saved32")
    raw_write(wide, plain, threads)
    return {
        "raw write, fsync": lambda: raw_write(raw, plain[:size], threads),
        "save": lambda: save_pretrained(model, folder / "saved"),
        "raw read, fresh memory": lambda: raw_read(raw, fresh(size), threads),
        "raw read, used memory": lambda: raw_read(raw, plain[:size], threads),
        "raw read, twice the bytes": lambda: raw_read(wide, fresh(2 * size), threads),
        "load": lambda: load_pretrained(folder / "saved", dtype=None),
        "copy_ to fp32": lambda: fresh(2 * size).view(torch.float32).copy_(plain[:size].view(torch.bfloat16)),
        "load as fp32": lambda: load_pretrained(folder / "saved", dtype=torch.float32),
        "copy_ to bf16": lambda: fresh(size).view(torch.bfloat16).copy_(plain.view(torch.float32)),
        "load fp32 as bf16": lambda: load_pretrained(folder / "saved32", dtype=torch.bfloat16),
    }


def _best(forms: dict[str, Callable[[], object]], rounds: int, folder: Path) -> dict[str, float]:
    best = dict.fromkeys(forms, float("inf"))
    for _ in range(rounds):
        for name, run in forms.items():
            if name == "save":  # both forms write a new file; removing the one before is not part of either
                shutil.rmtree(folder / "saved", ignore_errors=True)
            if name.startswith("raw write"):
                (folder / "raw").unlink(missing_ok=True)
            os.sync()
            began = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - began)
    return best


def filled(config: HybridConfig) -> HybridModel:
    """A bf16 model whose numbers are a pattern: drawing a billion of them would take longer than all the rest."""
    model = HybridModel(config, device="meta", dtype=torch.bfloat16).to_empty(device="cpu")
    for tensor in model.state_dict().values():
        tensor.copy_(torch.arange(tensor.shape[-1]) % 251)
    return model


def fresh(size: int) -> torch.Tensor:
    """Memory that nobody has touched, in large pages where the system has them, as a model's is when it is loaded."""
    memory = torch.empty(size, dtype=torch.uint8)
    prefer_huge_pages([memory])
    return memory


def raw_write(file: Path, source: torch.Tensor, threads: int) -> None:
    view, handle = byte_view(source), os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda at: os.pwrite(handle, view[at : at + PIECE], at), range(0, len(view), PIECE)))
        os.fsync(handle)
    finally:
        os.close(handle)


def raw_read(file: Path, target: torch.Tensor, threads: int) -> None:
    view, handle = byte_view(target), os.open(file, os.O_RDONLY)
    try:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda at: os.preadv(handle, [view[at : at + PIECE]], at), range(0, len(view), PIECE)))
    finally:
        os.close(handle)


if __name__ == "__main__":
    main()
