"""The Triton kernels compile for Hopper at Nano's sizes, within its shared memory, on any machine.

The interpreter takes much that the compiler refuses; this is what can be known of a GPU without one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SHARED_MEMORY = 227 * 1024
TILES = ("up_kernel BLOCK_M=128", "down_kernel", "hidden_grad_kernel", "matrix_grad_kernel")


@pytest.mark.slow
def test_kernels_compile_and_fit(tmp_path: Path) -> None:
    triton = pytest.importorskip("triton", reason="Triton is not installed")
    if not any(Path(triton.__file__).parent.glob("backends/nvidia/bin/ptxas*")):
        pytest.skip("this Triton comes without its assembler for GPUs: nothing was compiled for Hopper")
    # fusion of multiplications with additions is spelled out because Triton warns of a default about to change
    settings = {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path), "TRITON_DEFAULT_FP_FUSION": "1"}
    script = Path(__file__).with_name("compile_for_hopper.py")
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, **settings, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    kernels = json.loads(done.stdout)
    assert len(kernels) == 16
    for name, facts in kernels.items():
        assert facts["shared"] <= SHARED_MEMORY, name
        if name.startswith(TILES):
            assert facts["wgmma"], name
