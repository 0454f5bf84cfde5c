"""The compiled draw: torch's tokens and log-probabilities, each row on its own, whatever stands in it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from model.kernels.native.draw import draw


def of(logits: Tensor, temperature: float = 1.0, uniform: float = 0.5) -> tuple[list[int], list[float]]:
    count = len(logits)
    tokens, logprobs = draw(
        logits,
        torch.full((count,), temperature, dtype=logits.dtype),
        torch.full((count,), uniform, dtype=torch.float64),
    )
    return tokens.tolist(), logprobs.tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("vocabulary", [1, 15, 16, 255, 257, 1000])
def test_equals_the_inverse_of_the_cumulative_softmax(vocabulary: int, dtype: torch.dtype) -> None:
    noise = torch.Generator().manual_seed(vocabulary)
    logits = torch.randn(40, vocabulary, generator=noise, dtype=dtype) * 3
    temperature = torch.tensor([1.0, 0.5, 1.7, 0.0] * 10, dtype=dtype)
    uniform = torch.rand(40, generator=noise, dtype=torch.float64)
    tokens, logprobs = draw(logits, temperature, uniform)
    scale = torch.where(temperature == 0, torch.ones_like(temperature), temperature)
    exact = (logits.double() / scale.double()[:, None]).log_softmax(-1)
    torch.testing.assert_close(logprobs.double(), exact.gather(1, tokens[:, None])[:, 0], rtol=1e-6, atol=2e-6)
    upper = exact.exp().cumsum(-1).gather(1, tokens[:, None])[:, 0]
    lower = upper - exact.gather(1, tokens[:, None])[:, 0].exp()
    greedy = temperature == 0
    assert torch.equal(tokens[greedy], logits[greedy].argmax(-1))
    assert ((lower - 1e-6 <= uniform) & (uniform <= upper + 1e-6))[~greedy].all()


@pytest.mark.parametrize(("uniform", "token"), [(0.0, 1), (0.49, 1), (0.51, 3), (1 - 2**-53, 3)])
def test_tokens_without_weight_are_never_drawn(uniform: float, token: int) -> None:
    row = torch.full((1, 700), -math.inf)
    row[0, [1, 3]] = math.log(0.5)
    assert of(row, uniform=uniform) == ([token], [pytest.approx(math.log(0.5), abs=1e-6)])


def test_the_last_block_may_have_no_weight() -> None:
    row = torch.full((1, 1024), -200.0)
    row[0, 5] = 0.0
    assert of(row, uniform=1 - 2**-53)[0] == [5]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("place", [0, 20])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_row_that_is_not_finite_says_so(bad: float, place: int, temperature: float) -> None:
    rows = torch.zeros(2, 33)
    rows[0, place] = bad
    _, logprobs = of(rows, temperature)
    assert math.isnan(logprobs[0]) and logprobs[1] == pytest.approx(-math.log(33), abs=1e-6)
    assert math.isnan(of(torch.full((1, 5), -math.inf), temperature)[1][0])


def test_of_equals_the_first_is_the_likeliest() -> None:
    assert of(torch.tensor([[1.0, 2.0, 2.0, 0.0]]), temperature=0.0)[0] == [1]


def test_numbers_in_any_order_and_dtype_are_read_as_they_are() -> None:
    logits = torch.randn(500, 40)
    temperature, uniform = torch.rand(500, 2).add(0.1), torch.rand(500, 3, dtype=torch.float64)
    plain = draw(logits, temperature[:, 1].contiguous(), uniform[:, 1].contiguous())
    for form in (temperature[:, 1], temperature[:, 1].double()):
        tokens, logprobs = draw(logits, form, uniform[:, 1])
        assert torch.equal(tokens, plain[0]) and torch.equal(logprobs, plain[1])


@given(seed=st.integers(0, 1000), row=st.integers(0, 6))
def test_a_row_does_not_depend_on_its_neighbours(seed: int, row: int) -> None:
    noise = np.random.default_rng(seed)
    logits = torch.from_numpy(noise.normal(size=(7, 300)).astype(np.float32))
    temperature = torch.from_numpy(noise.choice([0.0, 0.7, 1.0], 7).astype(np.float32))
    uniform = torch.from_numpy(noise.random(7))
    together = draw(logits, temperature, uniform)
    alone = draw(logits[row : row + 1], temperature[row : row + 1], uniform[row : row + 1])
    assert torch.equal(alone[0][0], together[0][row]) and torch.equal(alone[1][0], together[1][row])
