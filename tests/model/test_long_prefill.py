"""Long sequences: pieces that change no bit, attention over a long cache, memory that does not follow the length."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from model.cache import StateCache
from model.kernels.attention import attend_cached
from model.layers.attention_long import attend_continued
from model.prefill import pieces
from model.stack import HybridModel

Build = Callable[..., HybridModel]
Pack = Callable[..., tuple[Tensor, Tensor]]
ROOT = Path(__file__).resolve().parent.parent.parent


@given(seen=st.integers(0, 40), length=st.integers(1, 60), size=st.integers(1, 17))
def test_pieces_cover_the_tokens_and_end_at_multiples(seen: int, length: int, size: int) -> None:
    cuts = list(pieces(seen, length, size))
    assert [first for first, _ in cuts] == [0, *(last for _, last in cuts[:-1])]
    assert cuts[-1][1] == length
    assert all((seen + last) % size == 0 for _, last in cuts[:-1])
    assert all(0 < last - first <= size for first, last in cuts)


def read(model: HybridModel, tokens: Tensor, bounds: list[int], **options: int) -> tuple[Tensor, StateCache]:
    cache = StateCache(model.config, 2, len(tokens), dtype=model.dtype)
    for first, last in zip([0, *bounds], [*bounds, len(tokens)], strict=True):
        hidden = model.prefill_long(tokens[first:last], cache, 1, **options)
    return hidden, cache


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_breaks_at_multiples_of_the_chunk_change_no_bit(build: Build, pack: Pack, dtype: torch.dtype) -> None:
    tokens, _ = pack([203])
    model = build(dtype)
    hidden, cache = read(model, tokens, [])
    for bounds in ([8], [64, 72], [8, 16, 24, 104, 200]):
        again, other = read(model, tokens, bounds)
        assert torch.equal(again, hidden), bounds
        for name in ("conv", "ssm", "keys", "values", "lengths"):
            assert torch.equal(getattr(other, name), getattr(cache, name)), (bounds, name)


def test_mamba_states_survive_breaks_of_plain_prefill_to_the_bit(build: Build, pack: Pack) -> None:
    tokens, _ = pack([256])
    model = build(hybrid_override_pattern="MMM", chunk_size=16)
    caches = []
    for size in (256, 128, 64, 16):
        cache = StateCache(model.config, 1, 256)
        for first in range(0, 256, size):
            model.prefill(tokens[first : first + size], torch.tensor([0, size]), cache, [0])
        caches.append(cache)
    assert all(torch.equal(cache.ssm, caches[0].ssm) for cache in caches[1:])


@pytest.mark.parametrize("piece", [8, 40])
def test_pieces_equal_the_full_forward(build: Build, pack: Pack, piece: int) -> None:
    tokens, bounds = pack([150])
    model = build(torch.float64)
    with torch.no_grad():
        expected = model(tokens, bounds)[-1]
    hidden, _ = read(model, tokens, [33, 101], piece=piece)
    torch.testing.assert_close(hidden, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("heads", [(4, 2), (3, 1), (2, 2)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("compiled", ["0", "1"])
@pytest.mark.parametrize(("length", "reach", "size"), [(5, 40, 8), (1, 129, 16), (70, 300, 12), (33, 128, 8)])
def test_attention_in_two_parts_equals_attention_in_one(
    monkeypatch: pytest.MonkeyPatch,
    heads: tuple[int, int],
    dtype: torch.dtype,
    compiled: str,
    length: int,
    reach: int,
    size: int,
) -> None:
    monkeypatch.setenv("PALAESTRA_NATIVE", compiled)
    num_heads, kv_heads = heads
    q = torch.randn(length, num_heads, size, dtype=dtype) * 3
    # As in a cache: a part of what there is room for; what lies beyond must not be read.
    room = torch.full((2, kv_heads, reach + 9, size), float("nan"), dtype=dtype)
    keys, values = room[:, :, :reach].normal_()
    visible = torch.arange(reach - length + 1, reach + 1)[None]
    wide = attend_cached(q[None].double(), keys[None].double(), values[None].double(), visible)[0]
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 0.05}[dtype]
    assert (attend_continued(q, keys, values).double() - wide).abs().max() <= tolerance


def test_scores_far_apart_and_queries_of_any_number_change_nothing() -> None:
    q = torch.randn(50, 2, 8, dtype=torch.float64) * 300
    keys, values = torch.randn(2, 1, 400, 8, dtype=torch.float64)
    whole = attend_continued(q, keys, values)
    visible = torch.arange(351, 401)[None]
    expected = attend_cached(q[None], keys[None], values[None], visible)[0]
    torch.testing.assert_close(whole, expected, rtol=0, atol=1e-12)
    for first in (1, 31, 49):  # a row's bits do not depend on who is read beside it
        assert torch.equal(attend_continued(q[first:], keys, values), whole[first:])


def test_the_two_part_form_is_taken_beyond_its_length(
    build: Build, pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens, bounds = pack([90])
    model = build(torch.float64)
    with torch.no_grad():
        expected = model(tokens, bounds)[-1]
    monkeypatch.setattr("model.layers.attention.LONG", 16)
    hidden, _ = read(model, tokens, [40], piece=8)
    torch.testing.assert_close(hidden, expected, rtol=0, atol=1e-11)


def test_refusals_read_nothing(build: Build, pack: Pack) -> None:
    tokens, _ = pack([30])
    model = build()
    cache = StateCache(model.config, 1, 20)
    for wrong, message in (
        (lambda: model.prefill_long(tokens, cache, 0), "max_length 20"),
        (lambda: model.prefill_long(tokens[:5], cache, 0, piece=12), "multiple of the chunk size 8"),
        (lambda: model.prefill_long(tokens[:0], cache, 0), "at least one token"),
        (lambda: model.prefill_long(tokens[:5], cache, 1), "slots must be"),
    ):
        with pytest.raises(ValueError, match=message):
            wrong()
    assert cache.lengths.tolist() == [0] and not cache.ssm.any()


LONG = """
import resource, sys
import torch
from model.cache import StateCache
from model.config import HybridConfig
from model.stack import HybridModel

def peak(): return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

length, piece = int(sys.argv[1]), int(sys.argv[2])
config = HybridConfig.tiny(64, hidden_size=16, hybrid_override_pattern="M*E", mamba_head_dim=8, ssm_state_size=8,
    num_attention_heads=1, num_key_value_heads=1, head_dim=8, n_routed_experts=4, moe_intermediate_size=8,
    moe_shared_expert_intermediate_size=8, chunk_size=64, max_position_embeddings=length + 8)
model = HybridModel(config, seed=1).requires_grad_(False)
draw = torch.Generator().manual_seed(0)
tokens = torch.randint(64, (length + 4,), generator=draw)
cache = StateCache(config, 1, length + 4)
model.prefill_long(tokens[:piece], cache, 0, piece)
cache.reserve(length + 4)
cache.keys.zero_(), cache.values.zero_()
cache.reset([0])
before = peak()
model.prefill_long(tokens[:length], cache, 0, piece)
states = cache.conv.clone(), cache.ssm.clone()
logits = [model.decode(tokens[at : at + 1], cache, [0])[0] for at in range(length, length + 4)]
# The same four tokens once more, read at once.
cache.conv, cache.ssm, cache.lengths[0] = *states, length
again = model.logits(model.prefill_long(tokens[length:], cache, 0, piece))
grown = peak() - before
print(grown, cache.nbytes, float((again - logits[-1]).abs().max()), all(bool(x.isfinite().all()) for x in logits))
"""


def long_run(length: int, piece: int) -> tuple[int, int, float, bool]:
    """Bytes the process grew by beyond its cache, the cache's bytes, decode against prefill, all finite."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    shown = subprocess.run(
        [sys.executable, "-c", LONG, str(length), str(piece)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=environment,
    )
    grown, held, difference, finite = shown.stdout.split()
    return int(grown), int(held), float(difference), finite == "True"


def test_sixteen_thousand_tokens_in_bounded_memory() -> None:
    grown, held, difference, finite = long_run(1 << 14, 1024)
    assert finite and difference < 1e-4
    assert held < (1 << 14) * 2 * 8 * 4 + (1 << 20)
    assert grown < 32 << 20


def test_four_times_the_tokens_take_no_more_memory_beyond_the_cache() -> None:
    grown, held, difference, finite = long_run(1 << 16, 1024)
    assert finite and difference < 1e-4
    assert held < (1 << 16) * 2 * 8 * 4 + (1 << 20)
    assert grown < 32 << 20


@pytest.mark.slow
def test_a_million_tokens_in_bounded_memory() -> None:
    grown, held, difference, finite = long_run(1 << 20, 4096)
    assert finite and difference < 1e-4
    assert held < (1 << 20) * 2 * 8 * 4 + (4 << 20)
    assert grown < 64 << 20
