"""FP8 training: each product by hand, the layers of the rule alone, off unless asked for, and it learns."""

from __future__ import annotations

import pytest
import torch

from model.quantise.sites import quantised_linears
from model.quantise.training import (
    E5M2,
    Fp8TrainedLinear,
    disable_fp8_training,
    enable_fp8_training,
    product,
    quantise_dynamic,
)

E4M3 = torch.float8_e4m3fn


def test_each_tensor_has_its_own_scale() -> None:
    q, scale = quantise_dynamic(torch.tensor([896.0, -3.0, 1.0]), E4M3)
    assert scale == 2 and q.tolist() == [448, -1.5, 0.5]
    q, scale = quantise_dynamic(torch.tensor([57344.0, 1.3]), E5M2)
    assert scale == 1 and q.tolist() == [57344, 1.25]
    q, scale = quantise_dynamic(torch.zeros(3), E4M3)
    assert scale == 1 and q.tolist() == [0, 0, 0]


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_seen_in_the_outcome(number: float) -> None:
    q, scale = quantise_dynamic(torch.tensor([1.0, number]), E4M3)
    assert not torch.isfinite(q.float() * scale).all()


def rounded(x: torch.Tensor, kind: torch.dtype) -> torch.Tensor:
    q, scale = quantise_dynamic(x, kind)
    return q.float() * scale


@pytest.mark.parametrize("tokens", [1, 16, 21])
def test_forward_and_backward_by_hand(model, tokens: int) -> None:
    inner = model.layers[1].mixer.shared_experts.up_proj
    layer = Fp8TrainedLinear(inner)
    x = torch.randn(tokens, 32, requires_grad=True)
    grad = torch.randn(tokens, 64)
    layer(x).backward(grad)
    x4, w4, g5 = (rounded(t, kind) for t, kind in ((x, E4M3), (inner.weight, E4M3), (grad, E5M2)))
    torch.testing.assert_close(layer(x), x4 @ w4.T, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(x.grad, g5 @ w4, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(inner.weight.grad, g5.T @ x4, rtol=1e-5, atol=1e-4)
    exact = grad @ inner.weight.detach()
    assert (x.grad - exact).norm() < 0.12 * exact.norm()


def test_emulated_and_library_products_agree() -> None:
    a, b = torch.randn(16, 32).to(E5M2), torch.randn(48, 32).to(E4M3)
    scales = torch.tensor(0.5), torch.tensor(3.0)
    expected = a.float() @ b.float().T * 1.5
    torch.testing.assert_close(product(a, b, *scales, torch.float32), expected, rtol=1e-5, atol=1e-5)
    # 47 rows the library does not take
    torch.testing.assert_close(product(a, b[:47], *scales, torch.float32), expected[:, :47], rtol=1e-5, atol=1e-5)
    assert product(a, b, *scales, torch.bfloat16).dtype == torch.bfloat16


def test_the_layers_of_the_rule_and_no_parameter_changes(model, samples, logits_of) -> None:
    before = logits_of(model, samples)
    assert not any(isinstance(module, Fp8TrainedLinear) for module in model.modules()), "off unless asked for"
    parameters = dict(model.named_parameters())
    names = enable_fp8_training(model)
    single = [name for name in quantised_linears(model.config) if ".experts." not in name]
    # in_proj has 100 rows here: no multiple of sixteen
    assert names == [name for name in single if not name.endswith("in_proj")]
    assert all(parameters[name] is parameter for name, parameter in model.named_parameters())
    assert list(parameters) == [name for name, _ in model.named_parameters()]
    assert not torch.equal(logits_of(model, samples), before)
    disable_fp8_training(model)
    assert torch.equal(logits_of(model, samples), before)


def test_sizes_of_the_published_model_all_fit() -> None:
    from model.config import HybridConfig

    config = HybridConfig.nano()
    sizes = (
        config.in_proj_size,
        config.hidden_size,
        config.mamba_inner_size,
        config.moe_shared_expert_intermediate_size,
    )
    assert all(size % 16 == 0 for size in sizes)


def test_it_learns_about_as_well(small, samples) -> None:
    losses = []
    for fp8 in (False, True):
        model = small(mamba_num_heads=16, mamba_head_dim=4).train()
        if fp8:
            assert any(name.endswith("in_proj") for name in enable_fp8_training(model))
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
        ids = torch.tensor(samples[4])
        for _ in range(30):
            loss = -model.token_logprobs(model(ids, torch.tensor([0, len(ids)]))[:-1], ids[1:])[0].mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    assert losses[1] < 2.0, "from ln 48 = 3.9"
    assert abs(losses[1] - losses[0]) < 0.3
