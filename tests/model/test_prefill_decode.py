"""Prefill and decoding against the full forward pass, however a sequence is cut and wherever its slot lies."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from model.cache import StateCache
from model.checkpoint import load_tensors, state_tensors
from model.kernels.router import dense_weights, gate_logits
from model.stack import HybridModel

pytestmark = pytest.mark.usefixtures("form")

Build = Callable[..., HybridModel]
Pack = Callable[..., tuple[Tensor, Tensor]]


def full_logits(model: HybridModel, token_ids: Tensor, bounds: Tensor) -> list[Tensor]:
    with torch.no_grad():
        logits = model.logits(model(token_ids, bounds))
    return [logits[a:b] for a, b in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)]


def play(
    model: HybridModel, tokens: list[Tensor], slots: list[int], stages: list[list[int]], cache: StateCache
) -> list[Tensor]:
    """Prefill each sequence up to every bound of its stages, then decode the rest; logits of all positions."""
    logits: list[list[Tensor]] = [[] for _ in tokens]
    at = [0] * len(tokens)
    for stage in range(len(stages[0])):
        parts = [tokens[b][at[b] : stages[b][stage]] for b in range(len(tokens))]
        chosen = [b for b, part in enumerate(parts) if len(part)]
        bounds = torch.tensor([0, *(len(parts[b]) for b in chosen)]).cumsum(0)
        hidden = model.prefill(
            torch.cat([parts[b] for b in chosen]), bounds, cache, [slots[b] for b in chosen], all_hidden=True
        )
        for b, first, last in zip(chosen, bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            logits[b].append(model.logits(hidden[first:last]))
            at[b] = stages[b][stage]
    while alive := [b for b in range(len(tokens)) if at[b] < len(tokens[b])]:
        step = torch.stack([tokens[b][at[b]] for b in alive])
        out = model.decode(step, cache, [slots[b] for b in alive])
        for row, b in enumerate(alive):
            logits[b].append(out[row : row + 1])
            at[b] += 1
    return [torch.cat(parts) for parts in logits]


# The last pattern has too many hidden units for the form that computes all experts.
OVERRIDES = [{}, {"chunk_size": 16, "n_groups": 1}, {"n_routed_experts": 80, "num_experts_per_tok": 3}]


@pytest.mark.parametrize("overrides", OVERRIDES)
@pytest.mark.parametrize("slots", [[1, 2, 3, 4], [4, 0, 5, 2]])
@pytest.mark.parametrize(
    "stages",
    [[[1], [16], [17], [30]], [[0, 3], [5, 5], [8, 24], [1, 2]], [[0, 0, 7], [0, 9, 10], [8, 16, 24], [31, 32, 33]]],
)
def test_equals_the_full_forward(
    build: Build, pack: Pack, slots: list[int], stages: list[list[int]], overrides: dict[str, int]
) -> None:
    lengths = [20, 33, 25, 40]
    token_ids, bounds = pack(lengths)
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-11)):
        model = build(dtype, **overrides)
        cache = StateCache(model.config, num_slots=6, max_length=64, dtype=dtype)
        played = play(model, list(token_ids.split(lengths)), slots, stages, cache)
        for ours, expected in zip(played, full_logits(model, token_ids, bounds), strict=True):
            torch.testing.assert_close(ours, expected, rtol=0, atol=tolerance)
        assert cache.lengths[slots].tolist() == lengths


def test_prefill_returns_the_last_hidden_state(build: Build, pack: Pack) -> None:
    token_ids, bounds = pack([5, 9])
    model = build()
    with torch.no_grad():
        expected = model(token_ids, bounds)[bounds[1:] - 1]
    last = model.prefill(token_ids, bounds, StateCache(model.config, 2, 16), [0, 1])
    torch.testing.assert_close(last, expected, rtol=0, atol=1e-6)


def test_growing_past_the_first_capacity_changes_nothing(build: Build, pack: Pack) -> None:
    token_ids, bounds = pack([150])
    model = build()
    cache = StateCache(model.config, num_slots=2, max_length=200)
    before = cache.capacity
    (played,) = play(model, [token_ids], [1], [[60]], cache)
    torch.testing.assert_close(played, full_logits(model, token_ids, bounds)[0], rtol=0, atol=1e-5)
    assert before == 64 and cache.capacity == 200


def test_long_continuation_is_cut_into_blocks(build: Build, pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.layers.attention._SCORE_NUMBERS", 500)
    token_ids, bounds = pack([50])
    model = build()
    (played,) = play(model, [token_ids], [0], [[10, 50]], StateCache(model.config, 1, 64))
    torch.testing.assert_close(played, full_logits(model, token_ids, bounds)[0], rtol=0, atol=1e-5)


def test_fork_equals_independent_prefill(build: Build, pack: Pack) -> None:
    prompt, bounds = pack([13])
    model = build()
    forked, apart = (StateCache(model.config, 4, 32) for _ in range(2))
    model.prefill(prompt, bounds, forked, [2])
    forked.fork(2, [0, 3])
    for slot in (0, 2, 3):
        model.prefill(prompt, bounds, apart, [slot])
    tokens = torch.tensor([5, 6, 7])
    for _ in range(4):
        ours, expected = (model.decode(tokens, cache, [0, 2, 3]) for cache in (forked, apart))
        assert torch.equal(ours, expected)
        tokens = ours.argmax(-1)


def test_swapped_slots_go_on_in_each_others_place(build: Build, pack: Pack) -> None:
    token_ids, bounds = pack([6, 9])
    model = build()
    kept, swapped = (StateCache(model.config, 3, 32) for _ in range(2))
    for cache in (kept, swapped):
        model.prefill(token_ids, bounds, cache, [0, 2])
    swapped.swap(0, 2)
    assert swapped.lengths.tolist() == [9, 0, 6]
    for token in range(3):
        tokens = torch.tensor([token, token + 1])
        assert torch.equal(model.decode(tokens, kept, [0, 2]), model.decode(tokens, swapped, [2, 0]))


def test_a_reset_slot_is_like_new(build: Build, pack: Pack) -> None:
    model = build()
    first, bounds = pack([11], seed=1)
    second, _ = pack([11], seed=2)
    used, new = (StateCache(model.config, 2, 32) for _ in range(2))
    model.prefill(first, bounds, used, [0])
    used.reset([0])
    for cache in (used, new):
        model.prefill(second[:5], torch.tensor([0, 5]), cache, [0])
    for token in second[5:]:
        assert torch.equal(model.decode(token[None], used, [0]), model.decode(token[None], new, [0]))


@pytest.mark.parametrize("slots", [[0, 1], [0, 3]])
def test_other_slots_are_neither_read_nor_written(build: Build, pack: Pack, slots: list[int]) -> None:
    token_ids, bounds = pack([6, 9])
    model = build()
    clean, poisoned = (StateCache(model.config, 4, 32) for _ in range(2))
    others = [slot for slot in range(4) if slot not in slots]
    for part in (poisoned.conv, poisoned.ssm, poisoned.keys, poisoned.values):
        part[:, others] = float("nan")
    results = []
    for cache in (clean, poisoned):
        model.prefill(token_ids, bounds, cache, slots)
        results.append([model.decode(torch.tensor([t, t + 1]), cache, slots) for t in range(3)])
    for ours, expected in zip(*results, strict=True):
        assert torch.equal(ours, expected)
    assert poisoned.ssm[:, others].isnan().all() and poisoned.keys[:, others].isnan().all()


def test_decoding_sees_changed_weights(build: Build, pack: Pack) -> None:
    prompt, bounds = pack([7])
    model = build()
    cache = StateCache(model.config, 2, 32)
    model.prefill(prompt, bounds, cache, [0])
    cache.fork(0, [1])
    before = model.decode(torch.tensor([3]), cache, [0])
    with torch.no_grad():
        next(model.moe_layers()).gate.e_score_correction_bias += torch.linspace(-1, 1, 8)
    after = model.decode(torch.tensor([3]), cache, [1])
    assert not torch.equal(before, after)


def test_decoding_follows_published_weights(build: Build, pack: Pack) -> None:
    prompt, bounds = pack([7])
    served, trained = build(seed=1), build(seed=2)
    caches = [StateCache(model.config, 1, 32) for model in (served, trained)]
    served.prefill(prompt, bounds, caches[0], [0])
    served.decode(torch.tensor([3]), caches[0], [0])
    load_tensors(served, dict(state_tensors(trained)))
    logits = []
    for model, cache in zip((served, trained), caches, strict=True):
        cache.reset([0])
        model.prefill(prompt, bounds, cache, [0])
        logits.append(model.decode(torch.tensor([3]), cache, [0]))
    assert torch.equal(*logits)


def test_decode_in_bf16(build: Build, pack: Pack) -> None:
    token_ids, bounds = pack([20])
    model = build(torch.bfloat16, hybrid_override_pattern="M*M")
    cache = StateCache(model.config, 1, 32, dtype=torch.bfloat16)
    assert cache.ssm.dtype == torch.float32
    (played,) = play(model, [token_ids], [0], [[9]], cache)
    assert played.dtype == torch.float32
    assert (played - full_logits(model, token_ids, bounds)[0]).abs().mean() < 0.05


def test_a_bf16_model_routes_alike_in_training_and_decoding(
    build: Build, pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []

    def noted(logits: Tensor, *rest: object) -> Tensor:
        seen.append(logits)
        return dense_weights(logits, *rest)

    monkeypatch.setattr("model.decode.dense_weights", noted)
    token_ids, _ = pack([6])
    model = build(torch.bfloat16, hybrid_override_pattern="E")
    cache = StateCache(model.config, 1, 16, dtype=torch.bfloat16)
    for token in token_ids:
        model.decode(token[None], cache, [0])
    block = next(model.blocks())
    with torch.no_grad():
        expected = gate_logits(block.normalise(model.embed(token_ids)), block.mixer.gate.weight)
    assert expected.dtype == torch.float32
    torch.testing.assert_close(torch.cat(seen), expected, rtol=0, atol=1e-5)


def test_decoding_records_and_replays_the_choice_when_asked(build: Build) -> None:
    model = build(hybrid_override_pattern="E")
    mixer = next(model.moe_layers())
    plain = model.decode(torch.tensor([3]), StateCache(model.config, 1, 8), [0])
    mixer.control.recorded = []
    recorded = model.decode(torch.tensor([3]), StateCache(model.config, 1, 8), [0])
    torch.testing.assert_close(recorded, plain, rtol=0, atol=1e-5)
    (chosen,) = mixer.control.recorded
    mixer.control.recorded = None
    mixer.control.replayed = (chosen + 1) % model.config.n_routed_experts
    other = model.decode(torch.tensor([3]), StateCache(model.config, 1, 8), [0])
    assert (other - plain).abs().max() > 1e-3


def test_refusals_leave_the_cache_alone(build: Build, pack: Pack) -> None:
    token_ids, bounds = pack([6, 6])
    model = build()
    cache = StateCache(model.config, num_slots=3, max_length=8)
    with pytest.raises(ValueError, match=r"distinct and within 0\.\.2"):
        model.prefill(token_ids, bounds, cache, [0, 3])
    with pytest.raises(ValueError, match="distinct"):
        model.decode(torch.tensor([1, 1]), cache, [2, 2])
    with pytest.raises(ValueError, match="2 sequences need as many slots, got 1"):
        model.prefill(token_ids, bounds, cache, [0])
    model.prefill(token_ids, bounds, cache, [0, 1])
    with pytest.raises(ValueError, match="max_length 8"):
        model.prefill(token_ids, bounds, cache, [0, 1])
    with pytest.raises(ValueError, match="2 slots need one token each"):
        model.decode(torch.tensor([1]), cache, [0, 1])
    assert cache.lengths.tolist() == [6, 6, 0]


def test_cache_size_counts_every_buffer(build: Build) -> None:
    model = build()
    cache = StateCache(model.config, num_slots=5, max_length=1000)
    ssm = 3 * 5 * 2 * 8 * 16 * 4
    conv = 3 * 5 * 3 * model.config.conv_dim * 4
    kv = 2 * 5 * 2 * 64 * 8 * 4
    assert cache.nbytes == ssm + conv + kv + 5 * 8
    cache.reserve(65)
    assert cache.nbytes == ssm + conv + 2 * kv + 5 * 8
