"""Compile the Triton kernels of norms, router, experts, head and FP8 for Hopper at Nano's sizes; no GPU is needed.

Prints one JSON object: kernel -> bytes of shared memory, and whether it uses Hopper's matrix instructions.
Run by test_compiles_for_hopper.py in a process of its own, where Triton compiles instead of interpreting.
"""

from __future__ import annotations

import json
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from model.kernels import experts_triton_kernels as experts
from model.kernels import fp8_triton, logprob_triton, norm_triton, router_triton

POINTERS = {
    "fp32": "rrms dweight parts logits bias weights dweights dlogits scale z logprobs entropy normaliser grad_entropy",
    "i64": "experts token pair ends targets",
    "i32": "tiles",
    "i16": "recorded",
    "fp8e4nv": "q",
}
NUMBERS = "num_rows rows_per_program num_tokens num_tiles num_pairs num_numbers stride"
GROUPED = {"UNITS": 1856, "SIZE": 2688, "BLOCK_M": 128, "BLOCK_N": 128, "BLOCK_K": 64, "num_warps": 8, "num_stages": 4}
NORM = {"SIZE": 2688, "GROUPS": 1, "GATED": False, "ADDED": True, "ROWS": 1, "BLOCK": 4096}
GATED = {"SIZE": 512, "GROUPS": 8, "GATED": True, "ADDED": False, "ROWS": 8, "BLOCK": 512}
ROUTER = {"EXPERTS": 128, "TOP_K": 6, "NORMALISE": True, "ROWS": 32, "BLOCK_E": 128, "BLOCK_K": 8, "num_warps": 4}
HEAD = {"VOCABULARY": 131072, "BLOCK": 4096, "num_warps": 8}

KERNELS: list[tuple[Any, dict[str, int]]] = [
    (norm_triton.norm_forward_kernel, {**NORM, "num_warps": 4}),
    (norm_triton.norm_backward_kernel, {**NORM, "num_warps": 8}),
    (norm_triton.norm_forward_kernel, {**GATED, "num_warps": 4}),
    (norm_triton.norm_backward_kernel, {**GATED, "num_warps": 8}),
    (router_triton.route_kernel, {**ROUTER, "REPLAY": True}),
    (router_triton.route_backward_kernel, ROUTER),
    (experts.up_kernel, GROUPED),
    (experts.up_kernel, {**GROUPED, "BLOCK_M": 16}),
    (experts.down_kernel, {**GROUPED, "FORWARD": True}),
    (experts.down_kernel, {**GROUPED, "FORWARD": False}),
    (experts.hidden_grad_kernel, GROUPED),
    (experts.matrix_grad_kernel, {**GROUPED, "SQUARE": True}),
    (experts.matrix_grad_kernel, {**GROUPED, "SQUARE": False}),
    (logprob_triton.statistics_kernel, HEAD),
    (logprob_triton.gradient_kernel, {**HEAD, "FOR_LOGPROB": True, "FOR_ENTROPY": True}),
    (fp8_triton.quantise_kernel, {"BLOCK": 4096, "num_warps": 8}),
]


def type_of(kernel: str, name: str) -> str:
    """The type of an argument that is no constant: bf16 tensors, but for those that are always of another type."""
    if name in NUMBERS.split() or name.startswith("stride"):
        return "i32"
    if name == "eps" or (name == "scale" and "route" in kernel):
        return "fp32"
    if name == "grad" and "gradient" in kernel:
        return "*fp32"
    return next((f"*{kind}" for kind, names in POINTERS.items() if name in names.split()), "*bf16")


def compile_one(kernel: Any, launch: dict[str, int]) -> dict[str, object]:
    options = {name: value for name, value in launch.items() if name.startswith("num_")}
    constants = {name: value for name, value in launch.items() if name not in options}
    names = kernel.arg_names
    signature = {n: "constexpr" if n in constants else type_of(kernel.__name__, n) for n in names}
    values = {(names.index(n),): value for n, value in constants.items()}
    # As torch allocates: addresses in sixteens.
    aligned = {(i,): [["tt.divisibility", 16]] for i, n in enumerate(names) if signature[n].startswith("*")}
    source = ASTSource(fn=kernel, signature=signature, constexprs=values, attrs=aligned)
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    assert compiled.asm["cubin"]
    return {"shared": compiled.metadata.shared, "wgmma": "wgmma.mma_async" in compiled.asm["ptx"]}


if __name__ == "__main__":
    found = {}
    for kernel, launch in KERNELS:
        chosen = [
            f"{name}={value}" for name, value in launch.items() if name in ("BLOCK_M", "FORWARD", "SQUARE", "GATED")
        ]
        found[" ".join([kernel.__name__, *chosen])] = compile_one(kernel, launch)
    print(json.dumps(found))
