"""The compiled decoding step: the bits of a row are its own, and those of the steps it replaces up to rounding."""

from __future__ import annotations

from collections.abc import Callable
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from model.cache import StateCache
from model.kernels.native import build as native_build
from model.kernels.native import decode as native_decode
from model.stack import HybridModel

LENGTHS = [3, 1, 70, 17]
Build = Callable[..., HybridModel]


def generated(model: HybridModel, slots: list[int], rows: list[int], steps: int = 5) -> Tensor:
    """Logits [steps, rows, V] of some of four sequences, in these slots."""
    cache = StateCache(model.config, 8, 200, dtype=model.dtype)
    token_ids = torch.arange(sum(LENGTHS)) % model.config.vocab_size
    model.prefill(token_ids, torch.tensor([0, *LENGTHS]).cumsum(0), cache, slots)
    mine = [slots[row] for row in rows]
    return torch.stack([model.decode(torch.tensor(rows) + step, cache, mine) for step in range(steps)])


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 1e-5)])
@pytest.mark.parametrize("slots", [[0, 1, 2, 3], [5, 0, 7, 2]])
def test_equals_the_steps(dtype: torch.dtype, tolerance: float, slots: list[int], build: Build) -> None:
    ours = generated(build(dtype), slots, [0, 1, 2, 3])
    with patch.object(native_build, "wanted", lambda: False):
        expected = generated(build(dtype), slots, [0, 1, 2, 3])
    torch.testing.assert_close(ours, expected, rtol=tolerance, atol=tolerance)


def test_a_row_does_not_depend_on_its_neighbours(build: Build) -> None:
    model = build(head_dim=5, mamba_head_dim=5, ssm_state_size=7)
    together = generated(model, [4, 1, 6, 0], [0, 1, 2, 3])
    for row in range(4):
        assert torch.equal(generated(model, [4, 1, 6, 0], [row])[:, 0], together[:, row])


def test_a_large_head_is_the_callers_product(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = generated(build(), [0, 1, 2, 3], [0, 1, 2, 3])
    monkeypatch.setattr(native_decode, "_MOST_HEAD", 0)
    torch.testing.assert_close(generated(build(), [0, 1, 2, 3], [0, 1, 2, 3]), expected, rtol=1e-5, atol=1e-5)


def test_two_threads_may_decode_with_one_model(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokens = build(), torch.tensor([3, 4])
    expected = [model.decode(tokens[:count], StateCache(model.config, 2, 20), list(range(count))) for count in (1, 2)]
    assert model._decode_plan is not None
    plan = model._decode_plan._native
    assert plan is not None
    compiled, others = plan._function, list[Tensor]()

    def interrupted(arguments: object) -> None:
        """The whole step of another thread, when this one has filled in what it is about to call with."""
        if not others:
            others.append(tokens)
            others[0] = model.decode(tokens, StateCache(model.config, 2, 20), [0, 1])
        compiled(arguments)

    monkeypatch.setattr(plan, "_function", interrupted)
    assert torch.equal(model.decode(tokens[:1], StateCache(model.config, 2, 20), [0]), expected[0])
    assert torch.equal(others[0], expected[1])


@pytest.mark.parametrize("token", [-1, 97])
def test_a_token_that_is_not_there_is_refused_and_nothing_moves(token: int, build: Build) -> None:
    model = build()
    cache = StateCache(model.config, 2, 20)
    model.decode(torch.tensor([5]), cache, [0])
    before = cache.ssm.clone()
    with pytest.raises(IndexError, match=r"within 0\.\.96"):
        model.decode(torch.tensor([token]), cache, [0])
    assert torch.equal(cache.ssm, before) and cache.lengths.tolist() == [1, 0]
