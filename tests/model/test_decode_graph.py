"""Steps over static buffers: padded, replayed, captured again when memory moved; on a GPU as real graphs.

On a CPU a "capture" that warms up as torch's does and then runs the step itself stands for the graph: what is static
and what is read from where is the same.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from model.cache import StateCache
from model.decode_graph import DecodeGraphs, Replay, bucket_of
from model.routing import record_experts, replay_experts
from model.stack import HybridModel

Build = Callable[..., HybridModel]
LENGTHS = [3, 1, 60, 17, 9, 30, 2, 5, 8, 13, 21]
# The last has too many hidden units for the form that computes all experts.
SHAPES = [{}, {"n_routed_experts": 80, "num_experts_per_tok": 3}]


def rerun(step: Callable[[], None]) -> Replay:
    step()
    step()
    return step


def graphs_of(model: HybridModel, capture: Callable[[Callable[[], None]], Replay] = rerun) -> DecodeGraphs:
    ends = model.norm_f, model.lm_head
    return DecodeGraphs(model.embeddings, list(model.blocks()), *ends, model.config.layer_norm_epsilon, capture)


def filled(model: HybridModel, slots: list[int]) -> StateCache:
    """A cache with a spare slot, in which some slots have read sequences of several lengths."""
    cache = StateCache(model.config, 14, 200, dtype=model.dtype, spare=True)
    lengths = LENGTHS[: len(slots)]
    model.prefill(torch.arange(sum(lengths)) % 97, torch.tensor([0, *lengths]).cumsum(0), cache, slots)
    return cache


def parts(cache: StateCache, slots: list[int]) -> list[Tensor]:
    buffers = [part[:, slots] for part in (cache.conv, cache.ssm)]
    reach = int(cache.lengths[slots].max())
    return [*buffers, cache.keys[:, slots, :, :reach], cache.values[:, slots, :, :reach], cache.lengths[slots]]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("slots", [[4], [0, 1, 2], [12, 3, 7, 0, 13], list(range(11))])
@torch.inference_mode()
def test_equals_the_plain_step(build: Build, shape: dict[str, object], slots: list[int]) -> None:
    model = build(torch.float64, **shape)
    graphs, ours, plain = graphs_of(model), filled(model, slots), filled(model, slots)
    for step in range(6):  # one of them grows out of the first capacity of keys and values
        tokens = (torch.arange(len(slots)) * 7 + step) % 97
        found = graphs.step(tokens, ours, torch.tensor(slots))
        assert found is not None
        torch.testing.assert_close(found, model.decode(tokens, plain, slots), rtol=1e-9, atol=1e-9)
    for one, other in zip(parts(ours, slots), parts(plain, slots), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    others = [slot for slot in range(14) if slot not in slots]
    assert not ours.ssm[:, others].any() and not ours.lengths[others].any(), "padding touched somebody"


@torch.inference_mode()
def test_one_capture_serves_a_bucket_until_memory_moves(build: Build) -> None:
    model = build()
    slots = list(range(7))
    graphs, cache = graphs_of(model), StateCache(model.config, 14, 200, spare=True)
    for count in (5, 6, 7, 8, 5):
        graphs.step(torch.arange(count), cache, torch.arange(count))
    assert graphs.num_captured == 1
    graphs.step(torch.arange(2), cache, torch.arange(2))
    assert graphs.num_captured == 2, "another bucket"
    cache.reserve(100)
    graphs.step(torch.arange(7), cache, torch.tensor(slots))
    assert graphs.num_captured == 3, "keys and values lie elsewhere"
    graphs.step(torch.arange(7), StateCache(model.config, 14, 200, spare=True), torch.tensor(slots))
    assert graphs.num_captured == 4, "another cache"


@torch.inference_mode()
def test_another_cache_at_the_same_addresses_is_captured_again(build: Build) -> None:
    model = build()
    graphs, cache = graphs_of(model), StateCache(model.config, 14, 200, spare=True)
    cache.reserve(100)
    graphs.step(torch.arange(3), cache, torch.arange(3))
    smaller = StateCache(model.config, 14, 200, spare=True)
    smaller.conv, smaller.ssm = cache.conv, cache.ssm
    for name in ("keys", "values"):
        size = getattr(smaller, name).shape
        setattr(smaller, name, getattr(cache, name).view(-1)[: size.numel()].view(size))
    graphs.step(torch.arange(3), smaller, torch.arange(3))
    assert graphs.num_captured == 2


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_weights_updated_in_place_are_followed_without_a_capture(
    build: Build, shape: dict[str, object], dtype: torch.dtype
) -> None:
    model, slots = build(dtype, **shape), [2, 5, 1]
    graphs, before, after = graphs_of(model), filled(model, slots), filled(model, slots)
    tokens = torch.tensor([1, 2, 3])
    with torch.inference_mode():
        old = graphs.step(tokens, before, torch.tensor(slots))
    other = build(dtype, seed=5, **shape)
    with torch.no_grad():
        for mine, new in zip(model.parameters(), other.parameters(), strict=True):
            mine.copy_(new)
        for mine, new in zip(model.buffers(), other.buffers(), strict=True):
            mine.copy_(new)
    with torch.inference_mode():
        for buffer, fresh in zip(
            (before.conv, before.ssm, before.keys, before.values), (after.conv, after.ssm, after.keys, after.values),
            strict=True,
        ):  # fmt: skip
            buffer.copy_(fresh)
        before.lengths.copy_(after.lengths)
        new = graphs.step(tokens, before, torch.tensor(slots))
        expected = graphs_of(other).step(tokens, after, torch.tensor(slots))
    assert graphs.num_captured == 1
    assert old is not None and new is not None and expected is not None
    assert torch.equal(new, expected) and not torch.equal(new, old)


@torch.inference_mode()
def test_weights_given_other_memory_are_captured_again(build: Build) -> None:
    model, cache = build(), filled(build(), [0])
    graphs = graphs_of(model)
    graphs.step(torch.tensor([1]), cache, torch.tensor([0]))
    with torch.inference_mode(False), torch.no_grad():
        model.lm_head.weight.data = model.lm_head.weight.data.clone()
    graphs.step(torch.tensor([1]), cache, torch.tensor([0]))
    assert graphs.num_captured == 2


@torch.inference_mode()
def test_experts_are_recorded_where_somebody_asks(build: Build) -> None:
    model, slots = build(), [3, 0, 9]
    graphs, ours, plain = graphs_of(model), filled(model, slots), filled(model, slots)
    for step in range(3):
        tokens = torch.tensor([5, 6, 7]) + step
        graphs.step(tokens, ours, torch.tensor(slots))
        model.decode(tokens, plain, slots)
    with record_experts(model) as record:
        graphs.step(tokens, ours, torch.tensor(slots))
        found = record.take().sort(-1).values
        model.decode(tokens, plain, slots)
        assert torch.equal(found, record.take().sort(-1).values)
    graphs.step(tokens, ours, torch.tensor(slots))
    assert all(mixer.control.recorded is None for mixer in model.moe_layers())


def test_what_is_not_captured_says_so(build: Build) -> None:
    model = build()
    graphs = graphs_of(model)
    experts = torch.zeros(1, len(list(model.moe_layers())), model.config.num_experts_per_tok, dtype=torch.int64)
    assert graphs.serves()
    with replay_experts(model, experts):
        assert not graphs.serves()


@torch.inference_mode()
def test_a_capture_that_fails_leaves_everything_to_the_plain_step(
    build: Build, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Callable[[], None]) -> Replay:
        raise RuntimeError("operation not permitted when stream is capturing")

    model, cache = build(), filled(build(), [1, 2])
    before = [part.clone() for part in parts(cache, [1, 2])]
    graphs = graphs_of(model, fail)
    assert graphs.step(torch.tensor([1, 2]), cache, torch.tensor([1, 2])) is None
    assert not graphs.serves() and "could not be captured" in caplog.text
    assert all(torch.equal(one, other) for one, other in zip(parts(cache, [1, 2]), before, strict=True))


def test_a_cache_on_a_cpu_has_no_spare_slot_unless_asked(build: Build) -> None:
    config = build().config
    assert StateCache(config, 3, 10).spare is None
    assert StateCache(config, 3, 10, spare=True).spare == 3
    with pytest.raises(ValueError, match=r"within 0\.\.2"):
        StateCache(config, 3, 10, spare=True).reset([3])


@given(st.integers(1, 500))
def test_buckets_are_large_enough_and_few(count: int) -> None:
    size = bucket_of(count)
    assert count <= size == bucket_of(size)
    assert size < 2 * count and (count <= 8 or size - count < 32)


def test_buckets_by_hand() -> None:
    assert [bucket_of(n) for n in (1, 2, 3, 5, 8, 9, 17, 64, 65, 100)] == [1, 2, 4, 8, 8, 16, 24, 64, 96, 128]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU: capture itself was not tested")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_on_a_gpu_graphs_say_what_plain_steps_say(
    build: Build, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, slots = build(dtype).to("cuda"), [4, 0, 9, 2, 7]
    caches = [StateCache(model.config, 14, 200, device="cuda", dtype=dtype) for _ in range(2)]
    for cache in caches:
        lengths = LENGTHS[:5]
        bounds = torch.tensor([0, *lengths], device="cuda").cumsum(0)
        model.prefill(torch.arange(sum(lengths), device="cuda") % 97, bounds, cache, slots)
    tolerance = 1e-4 if dtype == torch.float32 else 0.1
    for step in range(70):
        tokens = torch.arange(5, device="cuda") + step % 90
        monkeypatch.setenv("PALAESTRA_CUDA_GRAPHS", "1")
        found = model.decode(tokens, caches[0], slots)
        monkeypatch.setenv("PALAESTRA_CUDA_GRAPHS", "0")
        torch.testing.assert_close(found, model.decode(tokens, caches[1], slots), rtol=tolerance, atol=tolerance)
    assert model._decode_graphs is not None
    assert not model._decode_graphs.broken and model._decode_graphs.num_captured == 2, "two capacities"
