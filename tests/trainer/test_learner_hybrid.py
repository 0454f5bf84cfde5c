"""The learner over the real hybrid: Mamba-2, attention and experts in fp64, where packing must not show."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from safetensors.torch import load_file

from gym_core.errors import BadRequest
from model import checkpoint
from model.config import HybridConfig
from model.routing import record_experts
from model.stack import HybridModel
from trainer.build import build_learner
from trainer.config import GrpoRecipe, ObjectiveRecipe, parse_recipe
from trainer.learner import Learner
from trainer.metrics import Metrics
from trainer.mismatch import Mismatch
from trainer.pack import Sample

SHAPE = {
    "hidden_size": 16,
    "hybrid_override_pattern": "ME*M",
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "mamba_head_dim": 8,
    "ssm_state_size": 8,
    "chunk_size": 4,
    "n_routed_experts": 4,
    "moe_intermediate_size": 8,
    "moe_shared_expert_intermediate_size": 8,
}
VOCAB = 12
RECIPE = GrpoRecipe(minibatches=2, group_size=4, lr=1e-2)


def hybrid(dtype: torch.dtype = torch.float64, seed: int = 0) -> HybridModel:
    return HybridModel(HybridConfig.tiny(VOCAB, **SHAPE), dtype=dtype, seed=seed)


def learner(model: HybridModel, objective: dict[str, Any] | None = None, **changes) -> Learner:
    made = Learner(model, replace(RECIPE, **changes), ObjectiveRecipe(**objective or {}), seed=3)
    made.begin("grpo", made.recipe.lr)
    return made


def accumulated(samples: list[Sample], budget: int) -> tuple[float, dict[str, torch.Tensor]]:
    model = hybrid()
    made = learner(model, tokens_per_microbatch=budget)
    normaliser = sum(sample.num_trained for sample in samples)
    model.train()
    loss = 0.0
    for batch in made._pack(samples):
        old = batch.gen_logprobs + 0.3 * torch.sin(batch.targets.double())
        loss += made._accumulate(batch, old, normaliser, Mismatch(), Metrics())
    return loss, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("budget", [1, 13, 40])
def test_packing_changes_neither_loss_nor_gradient(make_samples, budget: int) -> None:
    samples = make_samples(hybrid(), vocab_size=VOCAB)
    loss, grads = accumulated(samples, 10_000)
    other_loss, other = accumulated(samples, budget)
    assert abs(loss - other_loss) < 1e-9 < abs(loss)
    assert grads.keys() == other.keys()
    for name, grad in grads.items():
        assert float((grad - other[name]).abs().max()) < 1e-9, name
    reached = {name for name, grad in grads.items() if float(grad.abs().max()) > 0}
    assert {kind for kind in ("mixer.A_log", "qkv_proj", "experts.up_proj") if any(kind in n for n in reached)} == {
        "mixer.A_log",
        "qkv_proj",
        "experts.up_proj",
    }, "the comparison is of gradients that are there"


def test_the_order_of_samples_changes_no_gradient(make_samples) -> None:
    samples = make_samples(hybrid(), vocab_size=VOCAB)
    _, grads = accumulated(samples, 30)
    _, other = accumulated(samples[::-1], 30)
    for name, grad in grads.items():
        assert float((grad - other[name]).abs().max()) < 1e-9, name


def test_router_frozen_bias_moved_everything_else_trained(make_samples) -> None:
    model = hybrid(torch.float32)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    learner(model, expert_bias_rate=0.01).step(make_samples(model, vocab_size=VOCAB))
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert not any(name.endswith("gate.weight") for name in moved)
    assert "layers.1.mixer.gate.e_score_correction_bias" in moved
    assert len(moved) == len(before) - 1, set(before) - moved


def test_the_old_logprob_pass_is_the_training_forward(make_samples) -> None:
    made = learner(hybrid(torch.float32), mismatch_gate=1.001)
    metrics = made.step(make_samples(made.model, vocab_size=VOCAB))
    assert metrics["token_mult_prob_error"] == pytest.approx(1.0, abs=2e-6)
    assert metrics["logprob_abs_diff_max"] < 1e-5


@pytest.mark.parametrize("kl_coef", [0.0, 0.5])
def test_two_steps_save_load_two_steps_is_four_steps(make_samples, tmp_path: Path, kl_coef: float) -> None:
    batches = [make_samples(hybrid(), vocab_size=VOCAB, seed=seed) for seed in range(4)]
    straight = learner(hybrid(torch.float32), mismatch_gate=100.0, objective={"kl_coef": kl_coef})
    first = learner(hybrid(torch.float32), mismatch_gate=100.0, objective={"kl_coef": kl_coef})
    for step, batch in enumerate(batches):
        straight.step(batch, step)
    for step in (0, 1):
        first.step(batches[step], step)
    first.save(tmp_path)
    second = Learner(hybrid(torch.float32, seed=9), first.recipe, first.objective, seed=3)
    second.load(tmp_path, first.recipe.lr)
    for step in (2, 3):
        second.step(batches[step], step)
    for name, value in straight.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name


def test_exported_weights_are_the_model(tmp_path: Path) -> None:
    made = Learner(hybrid(torch.float32), RECIPE, ObjectiveRecipe())
    checksums = made.export(tmp_path / "w.safetensors")
    other = hybrid(torch.float32, seed=5)
    checkpoint.load_tensors(other, load_file(tmp_path / "w.safetensors"))
    assert checkpoint.checksum(checkpoint.state_tensors(other)) == checksums
    ids = [[1, 2, 3, 4, 5]]
    np.testing.assert_array_equal(Learner(other, RECIPE, ObjectiveRecipe()).score(ids)[0], made.score(ids)[0])
    assert any(name.endswith("e_score_correction_bias") for name in checksums), "buffers travel too"


def test_a_checkpoint_of_another_shape_is_one_error(tmp_path: Path) -> None:
    learner(hybrid(torch.float32)).save(tmp_path)
    config = HybridConfig.tiny(VOCAB, **{**SHAPE, "hidden_size": 24})
    with pytest.raises(BadRequest, match="expected"):
        Learner(HybridModel(config), RECIPE, ObjectiveRecipe()).load(tmp_path, 1e-3)
    with pytest.raises(BadRequest, match="no model can be read"):
        Learner(hybrid(), RECIPE, ObjectiveRecipe()).load(tmp_path / "nowhere", 1e-3)


def recipe(**model):
    return parse_recipe({"name": "r", "environments": {"a": {}}, "vocab_size": VOCAB, "model": {**SHAPE, **model}})


def test_a_learner_is_built_from_the_recipe_s_seed(tmp_path: Path) -> None:
    one, same, other = (build_learner(replace(recipe(), seed=seed)) for seed in (1, 1, 2))
    weights = [made.model.lm_head.weight for made in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    one.save(tmp_path)
    assert torch.equal(build_learner(recipe(), str(tmp_path / "model")).model.lm_head.weight, weights[0])


def test_a_wrong_override_of_the_model_is_named() -> None:
    with pytest.raises(BadRequest, match=r"model\.hiden_size") as caught:
        build_learner(recipe(hiden_size=8))
    assert "hidden_size" in caught.value.hint
    with pytest.raises(BadRequest, match="hidden_size must be a positive integer"):
        build_learner(recipe(hidden_size=0))


def recorded(model: HybridModel, samples: list[Sample], choice: list[int] | None = None) -> list[Sample]:
    """The samples with the experts that the model chooses for them now, or with these for every token."""
    for sample in samples:
        with torch.no_grad(), record_experts(model) as record:
            model.eval()(torch.from_numpy(sample.token_ids.astype(np.int64)), torch.tensor([0, len(sample)]))
        sample.routed_experts = record.take().numpy()
        if choice is not None:
            sample.routed_experts = np.broadcast_to(np.uint8(choice), sample.routed_experts.shape).copy()
    return samples


def test_recorded_experts_that_are_the_own_change_nothing(make_samples) -> None:
    live, replayed = learner(hybrid(), minibatches=1), learner(hybrid(), minibatches=1)
    expected = live.step(make_samples(hybrid(), vocab_size=VOCAB))
    samples = recorded(hybrid(), make_samples(hybrid(), vocab_size=VOCAB))
    samples[2].routed_experts = None  # one that was not recorded chooses live
    found = replayed.step(samples)
    timed = {"policy_training_time"}
    assert {name: found[name] for name in found.keys() - timed} == {n: expected[n] for n in expected.keys() - timed}
    for one, other in zip(live.model.parameters(), replayed.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_recorded_experts_are_taken_in_the_step_and_their_load_moves_the_bias(make_samples) -> None:
    made = learner(hybrid(torch.float32), expert_bias_rate=0.01, minibatches=1, mismatch_gate=100.0)
    samples = recorded(made.model, make_samples(made.model, vocab_size=VOCAB), [3, 1])
    (gate,) = [mixer.gate for mixer in made.model.moe_layers()]
    frozen, before = gate.weight.clone(), gate.e_score_correction_bias.clone()
    metrics = made.step(samples)
    assert metrics["moe/unused_experts"] == 2.0, "of four experts two were recorded, and no other was computed"
    assert metrics["moe/max_vio"] == 1.0
    moved = gate.e_score_correction_bias - before
    torch.testing.assert_close(moved, torch.tensor([0.01, -0.01, 0.01, -0.01]), rtol=0, atol=1e-7)
    assert torch.equal(gate.weight, frozen)


def test_the_anchor_takes_the_same_experts(make_samples) -> None:
    made = learner(hybrid(), objective={"kl_coef": 0.5}, minibatches=1, mismatch_gate=100.0)
    metrics = made.step(recorded(made.model, make_samples(made.model, vocab_size=VOCAB), [3, 1]))
    assert metrics["kl_penalty"] == 0.0, "policy and anchor are the same before the first update"
