"""Choice of experts and their weights: ties, shifts of the bias, precision."""

from __future__ import annotations

import pytest
import torch

from model.kernels.router import choose, dense_weights, route


def test_worked_by_hand() -> None:
    # logits ln 1, ln 3, ln 1/3: scores 1/2, 3/4, 1/4; the bias lifts the third expert over the first
    gate = torch.tensor([1.0, 3.0, 1 / 3]).log()[:, None]
    bias = torch.tensor([0.0, 0.0, 0.5])
    routing = route(torch.ones(1, 1), gate, bias, top_k=2, scale=2.5, normalise=True)
    assert routing.experts.tolist() == [[1, 2]] or routing.experts.tolist() == [[2, 1]]
    weights = dict(zip(routing.experts[0].tolist(), routing.weights[0].tolist(), strict=True))
    assert weights[1] == pytest.approx(2.5 * 0.75) and weights[2] == pytest.approx(2.5 * 0.25)


def test_without_normalisation_weights_are_scaled_scores() -> None:
    routing = route(torch.zeros(1, 4), torch.zeros(3, 4), torch.zeros(3), top_k=2, scale=2.5, normalise=False)
    assert routing.weights.tolist() == [[1.25, 1.25]]


def test_ties_go_to_the_lower_index() -> None:
    scores = torch.tensor([[0.5] * 6, [0.1, 0.9, 0.5, 0.9, 0.5, 0.9]])
    assert choose(scores, torch.zeros(6), 3).tolist() == [[0, 1, 2], [1, 3, 5]]


def test_choice_agrees_with_topk_where_there_are_no_ties() -> None:
    scores, bias = torch.rand(200, 16, generator=torch.Generator().manual_seed(3)), torch.randn(16) * 0.1
    expected = (scores + bias - bias.mean()).topk(5).indices
    assert torch.equal(choose(scores, bias, 5), expected)


@pytest.mark.parametrize("shift", [1.0, -8.0, 64.0, 1024.0])
def test_a_constant_shift_of_the_bias_changes_nothing(shift: float) -> None:
    scores = torch.rand(500, 8, generator=torch.Generator().manual_seed(4))
    bias = torch.arange(8) / 64  # exact in fp32 after every shift
    assert torch.equal(choose(scores, bias + shift, 2), choose(scores, bias, 2))


def test_narrow_bias_is_refused() -> None:
    with pytest.raises(TypeError, match="must stay float32"):
        route(torch.zeros(1, 4), torch.zeros(3, 4), torch.zeros(3).bfloat16(), 1, 1.0, True)


@pytest.mark.parametrize("normalise", [True, False])
def test_gradcheck(normalise: bool) -> None:
    draw = torch.Generator().manual_seed(5)
    x = torch.randn(4, 3, generator=draw, dtype=torch.float64, requires_grad=True)
    gate = torch.randn(5, 3, generator=draw, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(5, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x, g: route(x, g, bias, 2, 2.5, normalise).weights, (x, gate))


def test_dense_weights_are_the_same_weights() -> None:
    x, gate, bias = torch.randn(6, 4), torch.randn(8, 4), torch.randn(8)
    routing = route(x, gate, bias, 3, 2.5, True)
    dense = dense_weights(x @ gate.t(), bias, 3, 2.5, True)
    assert torch.equal(dense.gather(1, routing.experts), routing.weights)
    assert (dense != 0).sum(-1).tolist() == [3] * 6
