"""Prefix caching of Mamba-2 layers on a CPU: the states at chunk ends, and their way into the paged cache.

vLLM's CPU scan tells only the last state of each sequence, and the store of checkpoints exists in Triton alone, so with
prefix caching on (its default) a hybrid dies on its first long prompt.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Scan = Callable[..., Tensor]


def chunk_states(scan: Scan) -> Scan:
    """A scan that knows `return_intermediate_states`: [chunks, heads, head_dim, state], one state a chunk end.

    A chunk begins where the one before it ended, with that one's state in fp32.
    """

    @functools.wraps(scan)
    def scan_chunks(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, chunk_size: int, out: Tensor, **given: Any):  # type: ignore[no-untyped-def]
        if not given.get("return_intermediate_states"):
            return scan(x, dt, a, b, c, chunk_size, out, **given)
        initial, dtype, z = given.get("initial_states"), given.get("state_dtype") or x.dtype, given.get("z")
        edges, sequences = given["cu_chunk_seqlens"].tolist(), given["seq_idx"].tolist()
        states: list[Tensor] = []
        for number, (start, end) in enumerate(itertools.pairwise(edges)):
            first = number == 0 or sequences[number] != sequences[number - 1]
            sequence = sequences[number]
            before = states[-1] if not first else None if initial is None else initial[sequence : sequence + 1]
            one = {
                "initial_states": before,
                "state_dtype": torch.float32,
                "return_intermediate_states": False,
                "z": None if z is None else z[start:end],
                "cu_seqlens": torch.tensor([0, end - start], dtype=torch.int32, device=x.device),
            }
            cut = slice(start, end)
            states.append(scan(x[cut], dt[cut], a, b[cut], c[cut], chunk_size, out[cut], **(given | one)))
        return torch.cat(states).to(dtype)

    return scan_chunks


def store_prefill_checkpoint(
    checkpoint: Any,
    chunk_idx: Tensor,
    x: Tensor,
    conv_state: Tensor,
    chunk_states: Tensor,
    ssm_state: Tensor,
    query_start_loc: Tensor,
    *,
    state_len: int,
) -> None:
    """Write each row's state in mid-prompt into its page: x [dim, tokens] before the conv, conv_state
    [pages, dim, state_len…], chunk_states by `chunk_idx`. Rows with offset 0 have no checkpoint."""
    offsets, pages = checkpoint.checkpoint_offsets.tolist(), checkpoint.state_indices.tolist()
    starts, chunks = query_start_loc.tolist(), chunk_idx.tolist()
    for row, offset in enumerate(offsets):
        if offset > 0:
            end = starts[row] + offset
            conv_state[pages[row], :, :state_len] = x[:, end - state_len : end]
            ssm_state[pages[row]] = chunk_states[chunks[row]].to(ssm_state.dtype)
