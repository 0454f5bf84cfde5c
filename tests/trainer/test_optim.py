import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from trainer.optim import Muon, OptimizerSet, build, linear_decay, orthogonalise, warmup


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(7, 4)
        self.mix = nn.Linear(4, 4, bias=False)
        self.experts = nn.Parameter(torch.randn(3, 4, 6))
        self.conv_weight = nn.Parameter(torch.randn(4, 4))
        self.scale = nn.Parameter(torch.ones(4))
        self.lm_head = nn.Linear(4, 7, bias=False)


@given(st.integers(2, 8), st.integers(2, 8), st.integers(0, 100))
def test_singular_values_come_near_one(rows: int, columns: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    # well-conditioned: Newton-Schulz lifts small singular values only so far in five steps
    matrix = torch.eye(rows, columns).double() + 0.1 * torch.randn(1, rows, columns, generator=generator).double()
    values = torch.linalg.svdvals(orthogonalise(matrix))
    assert float(values.min()) > 0.5 and float(values.max()) < 1.3


def test_muon_on_a_stack_is_muon_on_each() -> None:
    torch.manual_seed(0)
    stack = nn.Parameter(torch.randn(3, 4, 6))
    single = [nn.Parameter(stack[i].detach().clone()) for i in range(3)]
    together, apart = Muon([stack], 0.1), Muon(single, 0.1)
    for _ in range(3):
        grad = torch.randn(3, 4, 6)
        stack.grad = grad.clone()
        for i, parameter in enumerate(single):
            parameter.grad = grad[i].clone()
        together.step()
        apart.step()
    torch.testing.assert_close(stack, torch.stack(list(single)))


def test_muon_moves_by_the_learning_rate_whatever_the_gradient() -> None:
    for scale in (1e-6, 1.0, 1e6):
        parameter = nn.Parameter(torch.zeros(4, 4))
        parameter.grad = scale * torch.eye(4)
        Muon([parameter], 0.1).step()
        assert torch.linalg.svdvals(parameter.detach()).tolist() == pytest.approx([0.1] * 4, rel=0.35)


def groups_of(optimizers: OptimizerSet) -> list[set[int]]:
    return [{id(p) for group in o.param_groups for p in group["params"]} for o in optimizers.optimizers]


def test_maps_go_to_muon_tables_and_vectors_to_adamw() -> None:
    model = Small()
    muon, adamw = groups_of(build(model, "muon", 0.02))
    assert muon == {id(model.mix.weight), id(model.experts)}
    assert adamw == {id(p) for p in model.parameters()} - muon


def test_what_is_frozen_is_in_no_optimizer() -> None:
    model = Small()
    model.mix.weight.requires_grad_(False)
    (adamw,) = groups_of(build(model, "adamw", 1e-3))
    assert adamw == {id(p) for p in model.parameters()} - {id(model.mix.weight)}


def train(model: nn.Module, optimizers: OptimizerSet, steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizers.scale_lr(1.0 / (step + 1))
        optimizers.step()
        optimizers.zero_grad()


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_resume_is_bit_for_bit(kind) -> None:
    torch.manual_seed(0)
    straight = Small()
    torch.manual_seed(0)
    first = Small()
    optimizers = build(straight, kind, 0.02)
    train(straight, optimizers, range(6))
    half = build(first, kind, 0.02)
    train(first, half, range(3))
    second = Small()
    second.load_state_dict(first.state_dict())
    resumed = build(second, kind, 0.02)
    resumed.load_state_dict(half.state_dict())
    train(second, resumed, range(3, 6))
    for name, value in straight.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_the_learning_rate_is_scaled_from_its_base() -> None:
    optimizers = build(Small(), "muon", 0.02)
    optimizers.scale_lr(0.5)
    optimizers.scale_lr(0.1)
    assert [o.param_groups[0]["lr"] for o in optimizers.optimizers] == pytest.approx([0.002, 0.002])


def test_schedules_by_hand() -> None:
    assert [warmup(step, 4) for step in (0, 1, 3, 9)] == [0.25, 0.5, 1.0, 1.0]
    assert warmup(0, 0) == 1.0
    assert [linear_decay(p) for p in (0.0, 0.5, 1.0, 2.0)] == pytest.approx([1.0, 0.55, 0.1, 0.1])


def test_a_tall_matrix_moves_further_by_the_root_of_its_shape() -> None:
    tall, wide = nn.Parameter(torch.zeros(8, 2)), nn.Parameter(torch.zeros(2, 8))
    tall.grad = torch.eye(8, 2)
    wide.grad = torch.eye(2, 8)
    Muon([tall, wide], 0.1).step()
    torch.testing.assert_close(tall.detach(), 2.0 * wide.detach().T)


def test_muon_looks_ahead_by_its_momentum() -> None:
    torch.manual_seed(0)
    parameter = nn.Parameter(torch.zeros(4, 4))
    muon = Muon([parameter], 0.1, momentum=0.9)
    first, second = torch.randn(4, 4), torch.randn(4, 4)
    for grad in (first, second):
        parameter.grad = grad.clone()
        before = parameter.detach().clone()
        muon.step()
    buffer = 0.9 * (0.1 * first) + 0.1 * second
    expected = before - 0.1 * orthogonalise((0.1 * second + 0.9 * buffer)[None])[0]
    torch.testing.assert_close(parameter.detach(), expected)
