"""The chunked scan on a GPU: launchers of the Triton kernels and their autograd function.

    forward     decay sums ─▶ what each chunk adds ─▶ states passed from chunk to chunk ─▶ outputs
    backward    the first three again ─▶ gradients passed back ─▶ x, C, B, then dt and A

Saved between the two: the inputs, nothing else. Between kernels travel s and dt [H, T] and the states of the chunks
(2 H P N / Q numbers of fp32 per token). Launch parameters are reasoned, not yet measured, for Hopper at 64 x 64
channels, N = 128, Q = 128: tiles of 64 rows keep the accumulators of the widest kernel (64 x 128 twice, fp32) in the
registers of 8 warps.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.kernels import ssd_triton_backward as backward_kernels
from model.kernels import ssd_triton_forward as forward_kernels
from model.kernels.ssd_shape import SSDShape
from model.kernels.triton_layout import TritonLayout, triton_layout
from model.kernels.triton_support import blocks, dot_block, next_power_of_2
from model.layout import PackedLayout

_ROWS = 64
_HEADS = 16  # a row of 16 fp32 numbers is two sectors of memory
_STATE_ROWS = 32


def triton_ssd(
    xBC: Tensor,
    dt: Tensor,
    A: Tensor,
    D: Tensor,
    shape: SSDShape,
    layout: PackedLayout,
    initial_states: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """As `ssd`, for fp32, bf16 and fp16. Gradients flow to every tensor given, the initial states included."""
    result: tuple[Tensor, Tensor] = _TritonSSD.apply(xBC, dt, A, D, initial_states, shape, layout)
    return result


class _Launch(NamedTuple):
    """One batch's sizes, and how its kernels are launched."""

    shape: SSDShape
    rows: TritonLayout
    num_tokens: int
    chunk_size: int

    @property
    def num_chunks(self) -> int:
        return len(self.rows.chunk_start)

    @property
    def num_sequences(self) -> int:
        return len(self.rows.cu_seqlens) - 1

    @property
    def tiles(self) -> int:
        return blocks(self.chunk_size, self.row_block)

    @property
    def row_block(self) -> int:
        return min(_ROWS, dot_block(self.chunk_size))

    @property
    def chunks(self) -> dict[str, Any]:
        return {
            "chunk_start": self.rows.chunk_start,
            "chunk_length": self.rows.chunk_length,
            "num_tokens": self.num_tokens,
        }

    @property
    def sizes(self) -> dict[str, int]:
        heads, head_dim, groups, state = self.shape
        return {"HEADS": heads, "GROUPS": groups, "P": head_dim, "N": state, "BLOCK_P": dot_block(head_dim)}

    @property
    def tile_sizes(self) -> dict[str, int]:
        row = self.row_block
        state = dot_block(self.shape.state_size)
        return {**self.sizes, "TILES": self.tiles, "BLOCK_M": row, "BLOCK_K": row, "BLOCK_N": state}

    def states(self, device: torch.device) -> Tensor:
        return torch.empty(self.shape.states(self.num_chunks), device=device, dtype=torch.float32)


class _TritonSSD(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        xBC: Tensor,
        dt: Tensor,
        A: Tensor,
        D: Tensor,
        initial_states: Tensor | None,
        shape: SSDShape,
        layout: PackedLayout,
    ) -> tuple[Tensor, Tensor]:
        launch = _Launch(shape, triton_layout(layout), layout.num_tokens, layout.chunk_size)
        xBC, dt, A, D = _last_contiguous(xBC), _last_contiguous(dt), A.contiguous(), D.contiguous()
        initial = None if initial_states is None else initial_states.contiguous()
        s, dt_heads, before, final = _states(launch, xBC, dt, A, initial)
        y = torch.empty((launch.num_tokens, shape.inner), device=xBC.device, dtype=xBC.dtype)
        forward_kernels.scan_kernel[(launch.num_chunks * launch.tiles * shape.num_heads,)](
            xBC, s, dt_heads, D, before, y, stride=xBC.stride(0), **launch.chunks, **launch.tile_sizes, num_warps=4
        )
        ctx.save_for_backward(xBC, dt, A, D, *(() if initial is None else (initial,)))
        ctx.launch = launch
        ctx.set_materialize_grads(False)
        return y, final

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor | None, grad_final: Tensor | None) -> tuple[Tensor | None, ...]:
        xBC, dt, A, D, *given = ctx.saved_tensors
        launch: _Launch = ctx.launch
        initial = given[0] if given else None
        dy = xBC.new_zeros(launch.num_tokens, launch.shape.inner) if grad_y is None else _last_contiguous(grad_y)
        s, dt_heads, before, _ = _states(launch, xBC, dt, A, initial)
        d_after, d_initial, at_end = _state_gradients(launch, xBC, dy, s, dt_heads, before, grad_final)
        d_xBC = torch.empty((launch.num_tokens, xBC.shape[1]), device=xBC.device, dtype=xBC.dtype)
        d_exponents, d_D = _stream_gradients(launch, xBC, dy, D, s, dt_heads, before, d_after, d_xBC)
        d_dt, d_A = _step_gradients(launch, d_exponents, dt_heads, at_end, A, dt.dtype)
        d_given = None if initial is None else d_initial.to(initial.dtype)
        return d_xBC, d_dt, d_A.to(A.dtype), d_D.to(D.dtype), d_given, None, None


def _last_contiguous(x: Tensor) -> Tensor:
    """Rows may lie apart, as those of a column slice do; the numbers of a row may not."""
    return x if x.stride(-1) == 1 else x.contiguous()


def _states(
    launch: _Launch, xBC: Tensor, dt: Tensor, A: Tensor, initial: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """s and dt [H, T], the state before each chunk [X, G, N, R*P], the final ones [B, G, N, R*P]; all fp32."""
    shape = launch.shape
    s = torch.empty((shape.num_heads, launch.num_tokens), device=xBC.device, dtype=torch.float32)
    dt_heads = torch.empty_like(s)
    forward_kernels.decay_kernel[(launch.num_chunks * blocks(shape.num_heads, _HEADS),)](
        dt,
        A,
        s,
        dt_heads,
        stride_dt=dt.stride(0),
        **launch.chunks,
        HEADS=shape.num_heads,
        BLOCK_Q=next_power_of_2(launch.chunk_size),
        BLOCK_H=_HEADS,
        num_warps=4,
    )
    added = _chunk_states(launch, xBC, shape.inner, xBC, s, dt_heads, to_end=True)
    before = torch.empty_like(added)
    final = torch.empty(shape.states(launch.num_sequences), device=xBC.device, dtype=torch.float32)
    forward_kernels.pass_states_kernel[(_pass_grid(launch),)](
        added,
        s,
        final if initial is None else initial,
        before,
        final,
        first_chunk=launch.rows.first_chunk,
        **launch.chunks,
        **launch.sizes,
        HAS_INITIAL=initial is not None,
        BLOCK_N=_STATE_ROWS,
        num_warps=4,
    )
    return s, dt_heads, before, final


def _chunk_states(
    launch: _Launch, left: Tensor, left_column: int, right: Tensor, s: Tensor, dt_heads: Tensor, to_end: bool
) -> Tensor:
    """sum over each chunk of weight * left (x) right, [X, G, N, R*P]."""
    result = launch.states(left.device)
    forward_kernels.chunk_state_kernel[(launch.num_chunks * launch.shape.num_heads,)](
        left,
        right,
        s,
        dt_heads,
        result,
        stride_left=left.stride(0),
        stride_right=right.stride(0),
        left_column=left_column,
        **launch.chunks,
        **launch.sizes,
        TO_END=to_end,
        BLOCK_K=launch.row_block,
        BLOCK_N=dot_block(launch.shape.state_size),
        num_warps=4,
    )
    return result


def _pass_grid(launch: _Launch) -> int:
    return launch.num_sequences * launch.shape.num_heads * blocks(launch.shape.state_size, _STATE_ROWS)


def _state_gradients(
    launch: _Launch,
    xBC: Tensor,
    dy: Tensor,
    s: Tensor,
    dt_heads: Tensor,
    before: Tensor,
    grad_final: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of the states after each chunk and of the initial ones; exp(s_Q) <dH, H_prev> of each chunk [X, H]."""
    shape = launch.shape
    c_column = shape.inner + shape.num_groups * shape.state_size
    d_before = _chunk_states(launch, xBC, c_column, dy, s, dt_heads, to_end=False)
    d_after = torch.empty_like(d_before)
    d_initial = torch.empty(shape.states(launch.num_sequences), device=xBC.device, dtype=torch.float32)
    parts = (launch.num_chunks, shape.num_heads, blocks(shape.state_size, _STATE_ROWS))
    at_end = torch.empty(parts, device=xBC.device, dtype=torch.float32)
    backward_kernels.pass_gradients_kernel[(_pass_grid(launch),)](
        d_before,
        before,
        s,
        d_initial if grad_final is None else grad_final.contiguous(),
        d_after,
        d_initial,
        at_end,
        first_chunk=launch.rows.first_chunk,
        **launch.chunks,
        **launch.sizes,
        HAS_FINAL=grad_final is not None,
        BLOCK_N=_STATE_ROWS,
        num_warps=4,
    )
    return d_after, d_initial, at_end.sum(-1)


def _stream_gradients(
    launch: _Launch,
    xBC: Tensor,
    dy: Tensor,
    D: Tensor,
    s: Tensor,
    dt_heads: Tensor,
    before: Tensor,
    d_after: Tensor,
    d_xBC: Tensor,
) -> tuple[list[Tensor], Tensor]:
    """Fill d_xBC; return what decides over dt and A (rows, columns, ends, x . dU, each [H, T]), and dD [H]."""
    shape = launch.shape
    ds_rows, ds_columns, ds_ends, x_du = d_exponents = [torch.empty_like(s) for _ in range(4)]
    d_D = torch.zeros((launch.num_chunks * launch.tiles, shape.num_heads), device=s.device, dtype=torch.float32)
    strides = {"stride": xBC.stride(0), "stride_dy": dy.stride(0)}
    common = {**strides, **launch.chunks, **launch.tile_sizes}
    by_head = (launch.num_chunks * launch.tiles * shape.num_heads,)
    by_group = (launch.num_chunks * launch.tiles * shape.num_groups,)
    backward_kernels.x_gradient_kernel[by_head](
        xBC, dy, s, dt_heads, D, d_after, d_xBC, x_du, d_D, **common, num_warps=4
    )
    common["BLOCK_R"] = next_power_of_2(shape.num_heads // shape.num_groups)
    backward_kernels.c_gradient_kernel[by_group](xBC, dy, s, dt_heads, before, d_xBC, ds_rows, **common, num_warps=8)
    backward_kernels.b_gradient_kernel[by_group](
        xBC, dy, s, dt_heads, d_after, d_xBC, ds_columns, ds_ends, **common, num_warps=8
    )
    return d_exponents, d_D.sum(0)


def _step_gradients(
    launch: _Launch,
    d_exponents: list[Tensor],
    dt_heads: Tensor,
    at_end: Tensor,
    A: Tensor,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """Gradients of dt [T, H] and A [H]."""
    heads = launch.shape.num_heads
    d_dt = torch.empty((launch.num_tokens, heads), device=A.device, dtype=dtype)
    d_A = torch.empty((launch.num_chunks, heads), device=A.device, dtype=torch.float32)
    backward_kernels.dt_gradient_kernel[(launch.num_chunks * blocks(heads, _HEADS),)](
        *d_exponents,
        dt_heads,
        at_end,
        A,
        d_dt,
        d_A,
        **launch.chunks,
        HEADS=heads,
        BLOCK_Q=next_power_of_2(launch.chunk_size),
        BLOCK_H=_HEADS,
        num_warps=4,
    )
    return d_dt, d_A.sum(0)
