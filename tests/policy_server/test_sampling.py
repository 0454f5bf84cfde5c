from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from policy_server.sampling import draw, nucleus, stream, uniforms


def rows(logits: list[list[float]], temperature: float = 1.0, top_p: float = 1.0, uniform: float = 0.5):
    n = len(logits)
    tokens, logprobs, *_ = draw(
        torch.tensor(logits),
        np.full(n, temperature, np.float32),
        np.full(n, top_p, np.float32),
        np.full(n, uniform),
    )
    return tokens.tolist(), logprobs.tolist()


LOGITS = [[math.log(0.5), math.log(0.3), math.log(0.2)]]


@pytest.mark.parametrize(("uniform", "token"), [(0.0, 0), (0.49, 0), (0.51, 1), (0.79, 1), (0.81, 2), (1 - 2**-53, 2)])
def test_inverse_of_the_cumulative_distribution(uniform: float, token: int) -> None:
    tokens, logprobs = rows(LOGITS, uniform=uniform)
    assert tokens == [token]
    assert logprobs == pytest.approx([LOGITS[0][token]], abs=1e-6)


def test_logprobs_are_those_of_the_temperature_used() -> None:
    # at temperature 0.5 probabilities are squared and renormalised: 0.25, 0.09, 0.04 of 0.38
    tokens, logprobs = rows(LOGITS, temperature=0.5, uniform=0.7)
    assert tokens == [1]
    assert logprobs == pytest.approx([math.log(0.09 / 0.38)], abs=1e-6)


def test_top_p_narrows_the_draw_and_leaves_the_logprobs() -> None:
    # 0.5 < 0.6 <= 0.8: two tokens stay, and their mass of 0.8 is what the uniform number divides
    assert rows(LOGITS, top_p=0.6, uniform=0.62)[0] == [0]
    tokens, logprobs = rows(LOGITS, top_p=0.6, uniform=0.999999)
    assert tokens == [1]
    assert logprobs == pytest.approx([math.log(0.3)], abs=1e-6)


def test_greedy_is_the_argmax_at_temperature_one() -> None:
    assert rows([[0.0, 3.0, 1.0]], temperature=0.0) == (
        [1],
        pytest.approx([3 - math.log(1 + math.e**3 + math.e)], abs=1e-5),
    )


def test_rows_of_every_kind_in_one_batch() -> None:
    logits = torch.tensor(LOGITS * 4)
    temperature = np.array([1, 0, 1, 0.5], np.float32)
    top_p = np.array([1, 1, 0.4, 1], np.float32)
    tokens, logprobs, *_ = draw(logits, temperature, top_p, np.array([0.9, 0.9, 0.9, 0.9]))
    assert tokens.tolist() == [2, 0, 0, 2]
    want = [math.log(0.2), math.log(0.5), math.log(0.5), math.log(0.04 / 0.38)]
    assert logprobs.tolist() == pytest.approx(want, abs=1e-6)


def test_not_finite_logits_give_a_logprob_that_is_not_finite() -> None:
    _, logprobs = rows([[0.0, float("nan"), 1.0], [0.0, 0.0, float("inf")]])
    assert not np.isfinite(logprobs).any()
    _, logprobs = rows([[float("nan")] * 3], temperature=0.0)
    assert not np.isfinite(logprobs).any()


def test_masked_tokens_are_never_drawn() -> None:
    logits = torch.full((200, 6), -math.inf)
    logits[:, 3] = 0.0
    tokens, *_ = draw(logits, np.ones(200, np.float32), np.ones(200, np.float32), np.linspace(0, 1 - 2**-53, 200))
    assert set(tokens.tolist()) == {3}


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**20), st.lists(st.integers(0, 2**63 - 1), max_size=5))
def test_noise_depends_on_seed_and_position_only(seed: int, position: int, others: list[int]) -> None:
    alone = uniforms(np.array([stream(seed)], np.uint64), np.array([position]))
    crowd = uniforms(np.array([stream(s) for s in (*others, seed)], np.uint64), np.full(len(others) + 1, position))
    assert alone[0] == crowd[-1]
    assert 0 <= alone[0] < 1


def test_noise_is_uniform_over_seeds_and_over_positions() -> None:
    seeds = uniforms(np.array([stream(s) for s in range(4000)], np.uint64), np.zeros(4000, np.int64))
    positions = uniforms(np.full(4000, stream(1), np.uint64), np.arange(4000))
    for numbers in (seeds, positions):
        assert abs(numbers.mean() - 0.5) < 4 * math.sqrt(1 / 12 / 4000)
        counts = np.histogram(numbers, 20, (0, 1))[0]
        assert ((counts - 200) ** 2 / 200).sum() < 60  # chi-square with 19 degrees of freedom
    assert abs(np.corrcoef(seeds[:-1], seeds[1:])[0, 1]) < 0.07


@given(
    st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=12),
    st.floats(0.01, 1.0),
    st.floats(0, 1, exclude_max=True),
)
def test_a_draw_is_inside_the_smallest_set_that_holds_top_p(logits: list[float], top_p: float, uniform: float) -> None:
    [token], [logprob] = rows([logits], top_p=top_p, uniform=uniform)
    probs = torch.tensor(logits).softmax(-1)
    assert logprob == pytest.approx(float(torch.tensor(logits).log_softmax(-1)[token]), abs=1e-5)
    larger = float(probs[probs > probs[token]].sum())
    assert larger < top_p + 1e-5


@given(st.lists(st.floats(-5, 5, width=32), min_size=2, max_size=10), st.floats(0.05, 0.999))
def test_nucleus_keeps_at_least_its_mass_and_no_token_too_many(logits: list[float], top_p: float) -> None:
    probs = torch.tensor([logits]).softmax(-1)
    kept = nucleus(probs, torch.tensor([top_p]))[0]
    assert float(kept.sum()) >= top_p - 1e-5
    assert float(kept.sum()) - float(kept[kept > 0].min()) < top_p + 1e-5
