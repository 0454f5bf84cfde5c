"""Choice of experts and their weights: ties, shifts of the bias, precision."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.kernels.router import (
    Groups,
    choose,
    choose_reference,
    count_experts,
    dense_weights,
    gate_logits,
    route,
    route_logits,
    route_reference,
)


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


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-6)])
def test_packed_equals_separate(dtype: torch.dtype, tolerance: float) -> None:
    draw = torch.Generator().manual_seed(6)
    x, gate = (torch.randn(shape, generator=draw, dtype=dtype) for shape in ((25, 6), (8, 6)))

    def run(rows: torch.Tensor) -> tuple[torch.Tensor, ...]:
        leaves = [part.clone().requires_grad_() for part in (rows, gate)]
        routing = route(*leaves, torch.zeros(8), 3, 2.5, True)
        (routing.weights.square().sum() / 100).backward()
        return routing.experts, routing.weights.detach(), *(leaf.grad for leaf in leaves)

    alone = list(zip(*map(run, x.split([6, 1, 13, 5])), strict=True))
    for got, want in zip(run(x), [*map(torch.cat, alone[:3]), sum(alone[3])], strict=True):
        torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance)


def test_dense_weights_are_the_same_weights() -> None:
    x, gate, bias = torch.randn(6, 4), torch.randn(8, 4), torch.randn(8)
    routing = route(x, gate, bias, 3, 2.5, True)
    dense = dense_weights(x @ gate.t(), bias, 3, 2.5, True)
    assert torch.equal(dense.gather(1, routing.experts), routing.weights)
    assert (dense != 0).sum(-1).tolist() == [3] * 6


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_choice_equals_the_specification_with_ties_and_without_numbers(data: st.DataObject) -> None:
    groups = data.draw(st.integers(1, 3))
    experts = groups * data.draw(st.integers(2, 5))
    chosen = data.draw(st.integers(1, groups))
    top_k = data.draw(st.integers(1, experts // groups * chosen))
    values = st.sampled_from([0.0, 0.25, 0.5, 1.0, float("nan")])
    scores = torch.tensor(data.draw(st.lists(st.lists(values, min_size=experts, max_size=experts), max_size=4)))
    scores = scores.view(-1, experts)
    bias = torch.tensor(data.draw(st.lists(st.sampled_from([0.0, 0.25, 64.5]), min_size=experts, max_size=experts)))
    got = choose(scores, bias, top_k, Groups(groups, chosen))
    assert torch.equal(got, choose_reference(scores, bias, top_k, Groups(groups, chosen)))
    assert all(len(set(row)) == top_k for row in got.tolist())


def test_a_group_is_worth_its_two_best() -> None:
    # groups {0.9, 0.1, 0}, {0.6, 0.5, 0}, {0.4, 0.4, 0.4}: worth 1.0, 1.1, 0.8
    scores = torch.tensor([[0.9, 0.1, 0.0, 0.6, 0.5, 0.0, 0.4, 0.4, 0.4]])
    assert choose(scores, torch.zeros(9), 2, Groups(3, 1)).tolist() == [[3, 4]]
    assert choose(scores, torch.zeros(9), 3, Groups(3, 2)).tolist() == [[0, 3, 4]]


def test_scores_that_are_not_numbers_are_chosen_last_and_seen() -> None:
    logits = torch.tensor([[float("nan"), 1.0, 2.0], [float("nan")] * 3])
    routing = route_logits(logits, torch.zeros(3), 2, 1.0, False)
    assert routing.experts.tolist() == [[2, 1], [0, 1]]
    assert torch.isfinite(routing.weights[0]).all() and routing.weights[1].isnan().all()


@pytest.mark.parametrize("normalise", [True, False])
def test_fast_equals_reference(normalise: bool) -> None:
    draw = torch.Generator().manual_seed(6)
    parts = [torch.randn(shape, generator=draw, dtype=torch.float64) for shape in ((9, 5), (8, 5))]
    bias = torch.randn(8, generator=draw)
    grads = []
    for form in (route, route_reference):
        x, gate = leaves = [part.clone().requires_grad_() for part in parts]
        routing = form(x, gate, bias, 3, 2.5, normalise)
        routing.weights.sin().sum().backward()
        grads.append([routing.experts, routing.weights.detach(), *(leaf.grad for leaf in leaves)])
    for ours, expected in zip(*grads, strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-14)


def test_a_recorded_choice_is_replayed_with_live_weights() -> None:
    draw = torch.Generator().manual_seed(8)
    x, gate = torch.randn(4, 3, generator=draw).double(), torch.randn(6, 3, generator=draw).double().requires_grad_()
    bias = torch.randn(6, generator=draw)
    live = route(x, gate, bias, 2, 2.5, True)
    recorded = torch.tensor([[5, 0], [1, 1], [-1, 3], [2, 4]], dtype=torch.int8)
    routing = route(x, gate, bias, 2, 2.5, True, recorded=recorded)
    assert routing.experts.tolist() == [[5, 0], [1, 1], live.experts[2].tolist(), [2, 4]]
    scores = torch.sigmoid(x @ gate.t())
    torch.testing.assert_close(routing.weights[0], 2.5 * scores[0, [5, 0]] / scores[0, [5, 0]].sum())
    torch.testing.assert_close(routing.weights[1], torch.full((2,), 1.25).double())
    assert torch.autograd.gradcheck(lambda g: route(x, g, bias, 2, 2.5, True, recorded=recorded).weights, (gate,))
    # What was recorded from this very router changes nothing.
    same = route(x, gate, bias, 2, 2.5, True, recorded=live.experts.to(torch.uint8))
    assert torch.equal(same.experts, live.experts) and torch.equal(same.weights, live.weights)


@pytest.mark.parametrize(
    ("recorded", "message"),
    [
        (torch.zeros(2, 3), r"must be \(2, 2\), got \(2, 3\)"),
        (torch.tensor([[0, 9], [1, 2]]), "expert 9 is not one of 6"),
    ],
)
def test_records_that_do_not_fit_are_refused(recorded: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        route_logits(torch.zeros(2, 6), torch.zeros(6), 2, 1.0, True, recorded=recorded)


@pytest.mark.parametrize(("groups", "top_k"), [(Groups(4, 1), 1), (Groups(3, 4), 1), (Groups(3, 1), 3)])
def test_groups_that_do_not_fit_are_refused(groups: Groups, top_k: int) -> None:
    with pytest.raises(ValueError, match="group"):
        route_logits(torch.zeros(2, 6), torch.zeros(6), top_k, 1.0, True, groups=groups)


def test_counts_of_the_tokens_counted() -> None:
    experts = torch.tensor([[0, 2], [2, 3], [0, 2]])
    assert count_experts(experts, 5).tolist() == [2, 0, 3, 1, 0]
    assert count_experts(experts, 5, torch.tensor([True, False, False])).tolist() == [1, 0, 1, 0, 0]
    assert count_experts(experts[:0], 5).tolist() == [0] * 5


def test_logits_of_narrow_inputs_are_wide() -> None:
    x, gate = torch.randn(3, 64).bfloat16(), torch.randn(4, 64).bfloat16()
    logits = gate_logits(x, gate)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, (x.double() @ gate.double().t()).float())
