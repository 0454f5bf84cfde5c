"""How fast this machine copies memory and multiplies matrices: the ceilings that kernels are held against."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Machine:
    """bytes_per_s counts what is read and what is written; flops_per_s by precision of the operands."""

    device: str
    threads: int
    bytes_per_s: float
    flops_per_s: dict[str, float]

    def floor_ms(self, moved: int, flops: int, in_bf16: bool) -> float:
        """The time below which no form can be: memory or arithmetic, whichever takes longer."""
        rate = self.flops_per_s["bf16" if in_bf16 else "fp32"]
        return 1e3 * max(moved / self.bytes_per_s, flops / rate)


def best_ms(forms: Mapping[str, Callable[[], object]], device: torch.device, budget_s: float) -> dict[str, float]:
    """The least milliseconds of one call of each form.

    Forms take turns, so that a neighbour's load meets all of them alike. One CPU thread is timed by the CPU time it
    used, several by the clock, runs of calls on a GPU by its events.
    """
    for run in forms.values():
        run()
    best = dict.fromkeys(forms, float("inf"))
    until = time.perf_counter() + budget_s * len(forms)
    rounds = 0
    while rounds < 3 or time.perf_counter() < until:
        for name, run in forms.items():
            best[name] = min(best[name], _once(run, device))
        rounds += 1
    return best


def _once(run: Callable[[], object], device: torch.device) -> float:
    if device.type != "cuda":
        clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
        began = clock()
        run()
        return 1e3 * (clock() - began)
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(10):
        run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 10


def measure(device: torch.device, budget_s: float) -> Machine:
    """Copy 64 MiB (1 GiB on a GPU) and multiply square matrices of 1024 (8192)."""
    on_gpu = device.type == "cuda"
    source = torch.ones((1 << 28) if on_gpu else (1 << 24), device=device)
    target = torch.empty_like(source)
    size = 8192 if on_gpu else 1024
    wide, narrow = (torch.randn(size, size, device=device).to(dtype) for dtype in (torch.float32, torch.bfloat16))
    times = best_ms(
        {
            "copy": lambda: target.copy_(source),
            "fp32": lambda: wide @ wide,
            # The same product through oneDNN, which some CPUs run faster than their BLAS.
            "fp32 linear": lambda: torch.nn.functional.linear(wide, wide),
            "bf16": lambda: narrow @ narrow,
        },
        device,
        budget_s,
    )
    flops = 2 * size**3
    name = torch.cuda.get_device_name(device) if on_gpu else "cpu"
    rates = {
        "fp32": 1e3 * flops / min(times["fp32"], times["fp32 linear"], _onednn_ms(wide, budget_s)),
        "bf16": 1e3 * flops / times["bf16"],
    }
    moved = 2 * source.numel() * source.element_size()
    return Machine(name, torch.get_num_threads(), 1e3 * moved / times["copy"], rates)


def _onednn_ms(x: torch.Tensor, budget_s: float) -> float:
    if x.is_cuda or not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return float("inf")
    run = {"onednn": lambda: torch.ops.mkldnn._linear_pointwise(x, x, None, "none", [], "")}
    return best_ms(run, x.device, budget_s)["onednn"]
