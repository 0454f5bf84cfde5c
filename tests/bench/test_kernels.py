"""The kernels' benchmark prints rows that hold together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("transformers", reason="the peers' library, transformers, is not installed")
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_rows_hold_ours_beside_its_peer() -> None:
    command = [sys.executable, "bench/kernels.py", "--quick", "--json", "--threads", "1", "--kernel", "state_update"]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    (machine,) = printed["machines"]
    assert machine["bytes_per_s"] > 1e8 and machine["flops_per_s"]["fp32"] > 1e9
    ours, theirs = printed["rows"]
    assert (ours["form"], theirs["form"]) == ("ours", "transformers")
    for row in (ours, theirs):
        floor_ms = 1e3 * max(row["bytes"] / machine["bytes_per_s"], row["flops"] / machine["flops_per_s"]["fp32"])
        assert row["of_ceiling"] == pytest.approx(floor_ms / row["time_ms"], abs=2e-3)
        assert row["vs_ours"] == pytest.approx(row["time_ms"] / ours["time_ms"], abs=2e-2)
