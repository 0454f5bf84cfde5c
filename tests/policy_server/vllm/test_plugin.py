"""The plugin's arithmetic, which needs no vLLM: experts, chunk states, narrow heads, budgets, checksums, read-back."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from model import checkpoint
from model.control_tokens import END_THINK, THINK
from policy_server.requests import GenerateRequest
from policy_server.steering import Steering
from policy_server.vllm_plugin.palaestra_vllm import narrow_heads, thought
from policy_server.vllm_plugin.palaestra_vllm.checkpoints import chunk_states, store_prefill_checkpoint
from policy_server.vllm_plugin.palaestra_vllm.files import checksum, tensors_of
from policy_server.vllm_plugin.palaestra_vllm.readback import Served
from policy_server.vllm_plugin.palaestra_vllm.relu2 import relu2_experts


def test_relu2_experts_by_hand() -> None:
    x = torch.tensor([[1.0, 2.0]])
    up = torch.tensor([[[1.0, 1.0]], [[-1.0, 0.0]], [[0.0, 1.0]]])  # 3 experts, width 1
    down = torch.tensor([[[1.0], [0.0]], [[5.0], [5.0]], [[0.0], [2.0]]])
    # expert 0: relu(3)² = 9 -> [9, 0]; expert 2: relu(2)² = 4 -> [0, 8]; weights 0.5 and 2
    out = relu2_experts(x, up, down, torch.tensor([[0.5, 2.0]]), torch.tensor([[0, 2]]))
    assert out.tolist() == [[4.5, 16.0]]
    # expert 1 has a negative hidden value, so it says nothing
    assert relu2_experts(x, up, down, torch.ones(1, 1), torch.tensor([[1]])).tolist() == [[0.0, 0.0]]


@given(st.integers(1, 40), st.integers(1, 4), st.integers(0, 9))
def test_relu2_experts_are_the_loop_over_tokens(num_tokens: int, top_k: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x, up = torch.randn(num_tokens, 6, generator=generator), torch.randn(5, 3, 6, generator=generator)
    down, weights = torch.randn(5, 6, 3, generator=generator), torch.rand(num_tokens, top_k, generator=generator)
    chosen = torch.stack([torch.randperm(5, generator=generator)[:top_k] for _ in range(num_tokens)])
    expected = torch.zeros(num_tokens, 6)
    for t in range(num_tokens):
        for k in range(top_k):
            expert = int(chosen[t, k])
            expected[t] += weights[t, k] * (down[expert] @ torch.relu(up[expert] @ x[t]).square())
    torch.testing.assert_close(relu2_experts(x, up, down, weights, chosen), expected, rtol=1e-4, atol=1e-4)


def scan(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, chunk_size: int, out: Tensor, **given: Any) -> Tensor:
    """h' = h · a + dt · x a sequence, scalars for heads: what vLLM's CPU scan tells, its last states."""
    edges, initial = given["cu_seqlens"].tolist(), given.get("initial_states")
    last = []
    for number in range(len(edges) - 1):
        state = torch.zeros(1) if initial is None else initial[number].clone()
        for t in range(edges[number], edges[number + 1]):
            state = state * a + dt[t] * x[t]
            out[t] = state
        last.append(state)
    return torch.stack(last).to(given["state_dtype"])


def test_chunk_states_are_the_states_at_chunk_ends() -> None:
    x, dt, a = torch.arange(1.0, 8.0)[:, None], torch.ones(7, 1), torch.tensor([0.5])
    given_ = {"state_dtype": torch.float32, "return_intermediate_states": True}
    given_ |= {"cu_seqlens": torch.tensor([0, 5, 7]), "cu_chunk_seqlens": torch.tensor([0, 2, 4, 5, 7])}
    given_ |= {"seq_idx": torch.tensor([0, 0, 0, 1]), "initial_states": torch.tensor([[8.0], [0.0]])}
    out, plain_out = torch.full((7, 1), math.nan), torch.full((7, 1), math.nan)
    states = chunk_states(scan)(x, dt, a, x, x, 2, out, **given_)
    # 8 -> 5 -> 4.5 | 5.25 -> 6.625 | 8.3125; the second sequence begins at 0: 6 -> 10
    assert states.flatten().tolist() == [4.5, 6.625, 8.3125, 10.0]
    last = chunk_states(scan)(x, dt, a, x, x, 2, plain_out, **(given_ | {"return_intermediate_states": False}))
    assert last.flatten().tolist() == [8.3125, 10.0]
    assert torch.equal(out, plain_out)


def test_a_checkpoint_is_stored_for_the_rows_that_have_one() -> None:
    x = torch.arange(20.0).view(2, 10)  # [dim, tokens]: rows of 6 and 4 tokens
    conv, ssm = torch.full((3, 2, 4), -1.0), torch.full((3, 5), -1.0)
    told = SimpleNamespace(checkpoint_offsets=torch.tensor([4, 0]), state_indices=torch.tensor([2, 1]))
    states = torch.arange(10.0).view(2, 5)
    starts = torch.tensor([0, 6, 10])
    store_prefill_checkpoint(told, torch.tensor([1, 0]), x, conv, states, ssm, starts, state_len=3)
    assert conv[2, :, :3].tolist() == [[1.0, 2.0, 3.0], [11.0, 12.0, 13.0]]
    assert ssm[2].tolist() == [5.0, 6.0, 7.0, 8.0, 9.0]
    assert (conv[:2] == -1).all()
    assert (ssm[:2] == -1).all()


class Attention(nn.Module):
    """Causal attention with vLLM's interface, which knows heads of 32 only."""

    def __init__(self, num_heads: int, head_size: int, scale: float) -> None:
        super().__init__()
        assert head_size == 32
        self.num_heads, self.head_size, self.scale = num_heads, head_size, scale

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        q, k, v = (heads.view(len(heads), self.num_heads, -1).transpose(0, 1) for heads in (query, key, value))
        told = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=self.scale)
        return told.transpose(0, 1).flatten(1)


def test_narrow_heads_are_computed_with_zeros_beside_them() -> None:
    class Wide(Attention):
        pass

    class Config:
        def get_head_size(self) -> int:
            return 16

    narrow_heads.apply(Wide, Config, [32, 64])
    q, k, v = torch.randn(3, 7, 2 * 16).unbind()
    told = Wide(2, 16, 0.25)(q, k, v)
    split = [heads.view(7, 2, 16).transpose(0, 1) for heads in (q, k, v)]
    expected = nn.functional.scaled_dot_product_attention(*split, is_causal=True, scale=0.25).transpose(0, 1).flatten(1)
    torch.testing.assert_close(told, expected)
    assert Config().get_head_size() == 32
    assert [narrow_heads.width_for(size, [32, 64]) for size in (8, 32, 33, 80)] == [32, 32, 64, 80]


@given(
    st.lists(st.sampled_from([THINK, END_THINK, 40, 41]), max_size=30),
    st.integers(0, 8),
    st.booleans(),
    st.integers(1, 4),
)
def test_a_budget_is_counted_as_the_embedded_engine_counts(
    tokens: list[int], budget: int, opened: bool, step: int
) -> None:
    request = GenerateRequest(prompt_token_ids=[40], thinking_open=opened, thinking_budget=budget)
    ours, said = Steering(request, None), list[int]()
    theirs = thought.Thought(said, budget, opened)
    for number, token in enumerate(tokens):
        if number % step == 0:  # vLLM may look again only after several tokens
            assert theirs.must_close() == ours.must_close
        said.append(token)
        ours.push(token)
    assert theirs.must_close() == ours.must_close
    assert (thought.THINK, thought.END_THINK) == (THINK, END_THINK)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
def test_checksums_are_those_of_the_model_room(dtype: torch.dtype, tmp_path: Path) -> None:
    tensor = torch.arange(12).view(3, 4).t().to(dtype)
    assert checksum(tensor) == checkpoint.checksum([("x", tensor)])["x"]
    save_file({"x": tensor.contiguous()}, tmp_path / "a.safetensors")
    [(name, stored)] = tensors_of(tmp_path)
    assert (name, checksum(stored)) == ("x", checksum(tensor))
    with pytest.raises(FileNotFoundError):
        list(tensors_of(tmp_path / "nothing"))


def test_published_files_are_mapped_as_they_were_written_and_broken_ones_named(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    written = {"odd": torch.arange(3, dtype=torch.uint8), "wide": torch.arange(5.0).double(), "none": torch.zeros(0, 3)}
    save_file(written, file)
    found = dict(tensors_of(file))
    assert found.keys() == written.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in written.items())
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [1, 9]}}).encode()
    numbers = b"." + torch.tensor([1.0, 2.0]).numpy().tobytes()  # begins where no float may
    file.write_bytes(len(header).to_bytes(8, "little") + header + numbers)
    assert dict(tensors_of(file))["w"].tolist() == [1.0, 2.0]
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"a\.safetensors: w should be bytes 1 to 9 of 8"):
        dict(tensors_of(file))
    file.write_bytes((1 << 40).to_bytes(8, "little"))
    with pytest.raises(ValueError, match="its header should end"):
        dict(tensors_of(file))


class Packed(nn.Module):
    """A linear layer as vLLM leaves it on a CPU: the weight freed, a closure that multiplies."""

    def __init__(self, weight: Tensor, sizes: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(0, dtype=weight.dtype), requires_grad=False)
        self.cpu_linear = lambda x, _, bias: nn.functional.linear(x, weight, bias)
        self.input_size, self.output_partition_sizes = weight.shape[1], list(sizes)


def test_packed_fused_and_derived_tensors_are_read_back() -> None:
    weight = torch.randn(8, 4, dtype=torch.bfloat16)
    mixer, layer, model = nn.Module(), nn.Module(), nn.Module()
    mixer.qkv_proj = Packed(weight, (4, 2, 2))
    mixer.A = nn.Parameter(-torch.ones(2))
    mixer.conv1d = nn.Module()
    mixer.conv1d.weight = nn.Parameter(torch.zeros(3, 1, 4))
    mixer.register_buffer("conv_weights", torch.ones(3, 4))  # stale: what the kernel takes is told, not the parameter
    layer.mixer, layer.forgotten = mixer, nn.Parameter(torch.zeros(1))
    model.model = nn.Module()
    model.model.layers = nn.ModuleList([layer])
    model.config = SimpleNamespace(vocab_size=7)
    served = Served(model)
    for name, part in zip("qkv", weight.split([4, 2, 2]), strict=True):
        assert torch.equal(served.read(f"backbone.layers.0.mixer.{name}_proj.weight"), part)
    assert torch.equal(served.read("backbone.layers.0.mixer.conv1d.weight"), torch.ones(3, 1, 4))
    assert served.read("backbone.layers.0.mixer.A_log").tolist() == [-1.0, -1.0]
    assert served.read("backbone.layers.9.norm.weight") is None
    assert served.unread() == ["model.layers.0.forgotten"]
