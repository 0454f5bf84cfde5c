"""Every kernel against the machine's own ceilings and against its best public peers, side by side in one run.

`of_ceiling` is the least time the kernel could take here (its bytes at the measured copy rate or its operations at the
measured matrix rate, whichever is longer) over the time it took; `vs_ours` is a peer's time over ours. Forms of one
case take turns; each time is the least of its turns. On a CPU `--threads 1,2` runs the table once for each count.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import torch
from kernels_support.case import Case
from kernels_support.machine import Machine, best_ms, measure
from kernels_support.registry import all_cases

COLUMNS = ("kernel", "form", "direction", "shape", "dtype", "time_ms", "bytes", "flops", "of_ceiling", "vs_ours")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print machines and rows as one JSON object")
    parser.add_argument("--quick", action="store_true", help="the demo's shapes only, short turns")
    parser.add_argument("--kernel", default="", help="only kernels whose name contains this")
    parser.add_argument("--threads", default="1,2", help="CPU threads, one table for each count")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    device = torch.device(options.device)
    counts = [1] if device.type == "cuda" else [int(count) for count in options.threads.split(",")]
    machines, rows = [], []
    for count in counts:
        torch.set_num_threads(count)
        machine = measure(device, budget_s=0.1 if options.quick else 0.5)
        machines.append(vars(machine))
        if not options.json:
            print(_title(machine))
        for case in all_cases(device, options.quick, options.kernel):
            measured = rows_of(case, machine, device, budget_s=0.1 if options.quick else 1.0)
            rows += [{"threads": count, **row} for row in measured]
            if not options.json:
                print("\n".join(_line(row) for row in measured), flush=True)
    if options.json:
        print(json.dumps({"machines": machines, "rows": rows}, indent=1))


def rows_of(case: Case, machine: Machine, device: torch.device, budget_s: float) -> list[dict[str, Any]]:
    """One row for each form of the case, ours first."""
    times = best_ms(case.forms, device, budget_s)
    floor = machine.floor_ms(case.bytes, case.flops, case.in_bf16)
    return [
        {
            "kernel": case.kernel,
            "form": form,
            "direction": case.direction,
            "shape": case.shape,
            "dtype": str(case.dtype).removeprefix("torch."),
            "time_ms": round(took, 4),
            "bytes": case.bytes,
            "flops": case.flops,
            "of_ceiling": round(floor / took, 3),
            "vs_ours": round(took / times["ours"], 2),
        }
        for form, took in times.items()
    ]


def _title(machine: Machine) -> str:
    rates = ", ".join(f"{name} {rate / 1e9:,.0f} GFLOP/s" for name, rate in machine.flops_per_s.items())
    title = f"{machine.device}, {machine.threads} thread(s): copy {machine.bytes_per_s / 1e9:,.1f} GB/s, {rates}"
    return f"\n{title}\n" + "  ".join(f"{column:>{_width(column)}}" for column in COLUMNS)


def _line(row: dict[str, Any]) -> str:
    return "  ".join(f"{row[column]:>{_width(column)}}" for column in COLUMNS)


def _width(column: str) -> int:
    return {"form": 23, "direction": 16, "shape": 14, "kernel": 14, "bytes": 11, "flops": 12}.get(column, 10)


if __name__ == "__main__":
    main()
