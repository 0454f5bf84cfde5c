"""The balancing loss: worked numbers, each sequence on its own, masked tokens inert."""

from __future__ import annotations

import pytest
import torch

from model.kernels.router_balance import balance_loss, balance_losses


def problem(lengths: list[int], experts: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [T, E] in fp64 and whose token each is."""
    draw = torch.Generator().manual_seed(3)
    logits = torch.randn(sum(lengths), experts, generator=draw, dtype=torch.float64)
    return logits, torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))


def test_worked_by_hand() -> None:
    # scores 3/4 and 1/4 for both tokens: f = (1, 0), P = (3/4, 1/4); L = 0.1 * 2 * 3/4
    logits = torch.tensor([[3.0, 1 / 3]]).log().double().repeat(2, 1)
    assert balance_loss(logits, 1, 0.1).item() == pytest.approx(0.15)


def test_even_load_costs_the_coefficient() -> None:
    # Each of four tokens prefers another of four experts, all by as much.
    logits = torch.eye(4, dtype=torch.float64)
    assert balance_loss(logits, 1, 1e-4).item() == pytest.approx(1e-4)


def test_packed_equals_separate() -> None:
    lengths = [3, 1, 7]
    logits, sequence = problem(lengths)
    logits.requires_grad_()
    losses = balance_losses(logits, 2, 0.5, sequence, 3)
    (losses * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    packed = logits.grad.clone()
    logits.grad = None
    for number, part in enumerate(logits.split(lengths)):
        alone = balance_loss(part, 2, 0.5)
        assert alone.item() == pytest.approx(losses[number].item(), abs=1e-12)
        (alone * (number + 1)).backward()
    torch.testing.assert_close(logits.grad, packed, rtol=0, atol=1e-12)


def test_tokens_left_out_change_nothing() -> None:
    logits, sequence = problem([4, 3])
    counted = torch.tensor([True, False, True, True, False, False, False])
    losses = balance_losses(logits, 2, 1.0, sequence, 2, counted)
    assert losses[0].item() == pytest.approx(balance_loss(logits[[0, 2, 3]], 2, 1.0).item())
    assert losses[1].item() == 0
    logits[1], logits[4:] = 100.0, -3.0
    torch.testing.assert_close(balance_losses(logits, 2, 1.0, sequence, 2, counted), losses)


def test_gradcheck() -> None:
    logits, sequence = problem([2, 3])
    logits.requires_grad_()
    counted = torch.tensor([True, True, False, True, True])
    assert torch.autograd.gradcheck(lambda z: balance_losses(z, 2, 1.0, sequence, 2, counted), (logits,))


def test_it_pushes_towards_balance() -> None:
    logits = torch.zeros(8, 4, dtype=torch.float64)
    logits[:, 0] = 1.0
    logits.requires_grad_()
    balance_loss(logits, 1, 1.0).backward()
    assert (logits.grad[:, 0] > 0).all() and (logits.grad[:, 1:] < 0).all()


def test_the_loss_of_narrow_logits_is_wide() -> None:
    logits, sequence = problem([6])
    narrow = logits.bfloat16()
    losses = balance_losses(narrow, 2, 1.0, sequence, 1)
    assert losses.dtype == torch.float32
    torch.testing.assert_close(losses, balance_losses(narrow.double(), 2, 1.0, sequence, 1).float())
