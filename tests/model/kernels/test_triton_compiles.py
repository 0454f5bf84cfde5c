"""Our Triton kernels compile for Hopper, on any machine: Triton brings its own compiler and assembler.

Launching is replaced by compiling for compute capability 9.0 with the arguments of the launch, in a process of its own
that has never seen the interpreter. What is checked: it compiles, products use the matrix units, and a program finds
the shared memory that it wants.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton is not installed")

COMPILE = r"""
import json, re, sys
import torch
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from triton.runtime.jit import JITFunction

POINTERS = {torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.int32: "*i32", torch.int64: "*i64"}

def launch(self, *args, grid, warmup, **named):
    bound = dict(zip(self.arg_names, args)) | {k: v for k, v in named.items() if k in self.arg_names}
    signature, constants, hints = {}, {}, {}
    for index, parameter in enumerate(self.params):
        value = bound[parameter.name]
        if parameter.is_constexpr or value is None or (type(value) is int and value == 1):
            constants[(index,)], signature[parameter.name] = value, "constexpr"
        elif isinstance(value, torch.Tensor):
            signature[parameter.name], hints[(index,)] = POINTERS[value.dtype], [["tt.divisibility", 16]]
        else:
            signature[parameter.name] = "fp32" if isinstance(value, float) else "i32"
            if isinstance(value, int) and value % 16 == 0:
                hints[(index,)] = [["tt.divisibility", 16]]
    options = {key: value for key, value in named.items() if key in ("num_warps", "num_stages")}
    kernel = compile(ASTSource(self, signature, constants, hints), target=GPUTarget("cuda", 90, 32), options=options)
    ptx = kernel.asm["ptx"]
    print(json.dumps({"name": self.__name__, "shared": kernel.metadata.shared,
                      "matrix": bool(re.search(r"wgmma|mma\.sync", ptx)), "bytes": len(kernel.asm["cubin"])}))

JITFunction.run = launch
from model.kernels.ssd_shape import SSDShape
from model.layout import PackedLayout
layout = PackedLayout(torch.tensor([0, 128, 198]), 128, 4)
shape, total = SSDShape(64, 64, 8, 128), 198

def narrow(*sizes):
    return torch.randn(sizes).bfloat16()

"""

SCAN = """
from model.kernels.ssd_triton import triton_ssd
xBC, dt, A = narrow(total, 6144).requires_grad_(), torch.rand(total, 64), -torch.rand(64)
y, final = triton_ssd(xBC, dt, A, torch.ones(64), shape, layout, torch.randn(shape.states(2)))
torch.autograd.backward((y, final), (torch.ones_like(y), torch.ones_like(final)))
"""
CONVOLUTION = """
from model.kernels.conv_triton import triton_causal_conv, triton_causal_conv_step
rows = narrow(total, 10304).requires_grad_()
y = triton_causal_conv(rows[:, 4096:10240], narrow(4, 6144), narrow(6144), layout, narrow(2, 3, 6144))
y.backward(torch.ones_like(y))
with torch.no_grad():
    triton_causal_conv_step(narrow(2, 6144), narrow(4, 3, 6144), narrow(4, 6144), narrow(6144), torch.tensor([1, 3]))
"""
DECODING = """
from model.kernels.attention_triton import triton_attend_cached
from model.kernels.state_update_triton import triton_state_update
slots = torch.tensor([1, 0])
triton_state_update(narrow(2, 6144), narrow(2, 64), torch.rand(64), torch.rand(64), shape, torch.randn(shape.states(2)),
                    torch.rand(64), narrow(2, 4096), slots)
triton_attend_cached(narrow(2, 1, 32, 128), narrow(2, 2, 4096, 128), narrow(2, 2, 4096, 128), torch.tensor([[9], [7]]),
                     slots, num_splits=5)
"""
PRODUCTS = {
    "chunk_state_kernel",
    "scan_kernel",
    "x_gradient_kernel",
    "c_gradient_kernel",
    "b_gradient_kernel",
    "_stretch_kernel",
}
# An SM of Hopper has 228 KiB, of which one program may take 227.
SHARED_BYTES = 227 << 10


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "kernels"), [(SCAN, 9), (CONVOLUTION, 3), (DECODING, 3)], ids=["scan", "convolution", "decoding"]
)
def test_compiles_for_hopper(script: str, kernels: int, tmp_path: Path) -> None:
    environment = os.environ | {
        "TRITON_INTERPRET": "0",
        "TRITON_CACHE_DIR": str(tmp_path),
        # Newer versions ask which default is meant; it makes no difference here.
        "TRITON_DEFAULT_FP_FUSION": "1",
    }
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-c", COMPILE + script], cwd=root, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    found = {line["name"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert len(found) == kernels, sorted(found)
    for name, kernel in found.items():
        assert kernel["bytes"] > 0 and kernel["shared"] <= SHARED_BYTES, kernel
        assert kernel["matrix"] == (name in PRODUCTS), kernel
