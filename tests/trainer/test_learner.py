import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from gym_core.errors import BadRequest
from trainer.config import GrpoRecipe, ObjectiveRecipe, parse_recipe
from trainer.learner import Learner, NonFinite
from trainer.metrics import Metrics
from trainer.mismatch import Mismatch, MismatchExceeded
from trainer.pack import Sample
from trainer.presets import PRESETS

RECIPE = GrpoRecipe(minibatches=2, group_size=4, lr=1e-2)


def learner(model, objective: dict[str, Any] | None = None, **changes) -> Learner:
    made = Learner(model, replace(RECIPE, **changes), ObjectiveRecipe(**objective or {}), seed=3)
    made.begin("grpo", made.recipe.lr)
    return made


def state(model) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def gradients(model, samples, budget: int) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradients of one whole batch as one minibatch, packed under `budget`, with r and w away from 1."""
    made = learner(model, tokens_per_microbatch=budget, minibatches=1)
    normaliser = sum(s.num_trained for s in samples)
    loss = 0.0
    for batch in made._pack(samples):
        old = batch.gen_logprobs + 0.05 * torch.sin(batch.targets.double() + 1)
        loss += made._accumulate(batch, old, normaliser, Mismatch(), Metrics())
    grads = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    made.optimizer.zero_grad()
    return loss, grads


@pytest.mark.parametrize("budget", [1, 12, 25, 10_000])
def test_packing_changes_neither_loss_nor_gradient(fake_model, make_samples, budget: int) -> None:
    model = fake_model(dtype=torch.float64)
    samples = make_samples(model)
    loss, grads = gradients(model, samples, 40)
    other_loss, other_grads = gradients(model, samples, budget)
    assert abs(loss - other_loss) < 1e-9
    assert loss != 0.0
    for name, grad in grads.items():
        assert float((grad - other_grads[name]).abs().max()) < 1e-9, name


def test_loss_of_a_batch_by_its_formula(fake_model, make_samples) -> None:
    model = fake_model(dtype=torch.float64)
    samples = make_samples(model)
    loss, _ = gradients(model, samples, 20)
    total = 0.0
    for sample, logprobs in zip(samples, learner(model).score([s.token_ids for s in samples]), strict=True):
        for token, logp, gen, on in zip(sample.token_ids, logprobs, sample.logprobs, sample.loss_mask, strict=True):
            if on:
                old = gen + 0.05 * math.sin(token + 1)
                ratio, a = math.exp(logp - old), sample.advantage
                total += math.exp(old - gen) * max(-a * ratio, -a * min(max(ratio, 0.8), 1.28))
    assert loss == pytest.approx(total / sum(s.num_trained for s in samples), abs=1e-6)


def test_on_policy_the_ratio_is_one_and_the_error_is_one(fake_model, make_samples) -> None:
    model = fake_model()
    metrics = learner(model, minibatches=1).step(make_samples(model))
    assert metrics["probs_ratio_min"] == metrics["probs_ratio_max"] == 1.0
    assert metrics["token_mult_prob_error"] == pytest.approx(1.0, abs=1e-6)
    assert metrics["gen_kl_error"] == pytest.approx(0.0, abs=1e-9)
    assert metrics["is_oob_ratio"] == 0.0
    assert metrics["num_valid_samples"] == 9


def test_the_second_minibatch_measures_against_the_weights_at_the_start(fake_model, make_samples) -> None:
    model = fake_model()
    metrics = learner(model, lr=0.1).step(make_samples(model))
    assert metrics["probs_ratio_max"] > 1.001, "the first minibatch moved the weights"
    assert metrics["token_mult_prob_error"] == pytest.approx(1.0, abs=1e-6), "but not before they were measured"


def test_a_step_raises_the_good_and_lowers_the_bad(fake_model, make_samples) -> None:
    model = fake_model()
    samples = make_samples(model)
    made = learner(model, minibatches=1)
    for _ in range(5):
        for sample, score in zip(samples, made.score([s.token_ids for s in samples]), strict=True):
            sample.logprobs = np.where(sample.loss_mask, score, 0.0)
        before = sum(s.advantage * s.logprobs.sum() for s in samples)
        made.step(samples)
        after = made.score([s.token_ids for s in samples])
        gain = sum(s.advantage * a[s.loss_mask].sum() for s, a in zip(samples, after, strict=True)) - before
        assert gain > 0


def test_a_perturbed_sampler_is_refused_and_nothing_moves(fake_model, make_samples) -> None:
    model = fake_model()
    samples = make_samples(model, shift=0.01)
    made = learner(model)
    before, optimizer = state(model), copy.deepcopy(made.optimizer.state_dict())
    with pytest.raises(MismatchExceeded, match=r"1\.01005"):
        made.step(samples)
    assert_same(before, state(model))
    assert made.optimizer.state_dict() == optimizer
    assert all(p.grad is None for p in model.parameters())
    assert float(model.mixture.expert_counts.sum()) == 0
    clean = make_samples(model)
    twin = copy.deepcopy(made)
    assert made.step(clean)["loss"] == twin.step(clean)["loss"], "a refused step leaves no trace"


def test_a_lie_in_the_second_minibatch_is_found_before_the_first_trains(fake_model, make_samples) -> None:
    model = fake_model()
    samples = make_samples(model)
    made = learner(model)
    for sample in made._minibatches(samples, 0)[1]:
        sample.logprobs = np.where(sample.loss_mask, sample.logprobs + 0.05, 0.0)
    before = state(model)
    with pytest.raises(MismatchExceeded):
        made.step(samples)
    assert_same(before, state(model))


def test_a_stale_sampler_is_refused(fake_model, make_samples) -> None:
    model = fake_model()
    samples = make_samples(model)
    made = learner(model, lr=0.1)
    made.step(samples)
    with pytest.raises(MismatchExceeded):
        made.step(samples)


def test_with_the_gate_open_the_mask_takes_tokens_out(fake_model, make_samples) -> None:
    model = fake_model(dtype=torch.float64)
    samples = make_samples(model)
    for sample in samples[:3]:
        sample.logprobs = np.where(sample.loss_mask, sample.logprobs - math.log(6), 0.0)  # w = 6, over 5
    masked = copy.deepcopy(model)
    metrics = learner(masked, mismatch_gate=10.0, minibatches=1).step(samples)
    share = sum(s.num_trained for s in samples[:3]) / sum(s.num_trained for s in samples)
    assert metrics["is_oob_ratio"] == pytest.approx(share)
    without = copy.deepcopy(model)
    for sample in samples[:3]:
        sample.advantage = 1e-300  # still counted by the normaliser
    silent = [Sample(s.token_ids, s.loss_mask, s.logprobs, s.advantage) for s in samples]
    learner(without, mismatch_gate=10.0, minibatches=1).step(silent)
    for name, value in masked.named_parameters():
        torch.testing.assert_close(value, dict(without.named_parameters())[name], atol=1e-9, rtol=0)


def test_a_mild_shift_is_weighted_not_masked(fake_model, make_samples) -> None:
    model = fake_model(dtype=torch.float64)
    exact = learner(copy.deepcopy(model), mismatch_gate=10.0, minibatches=1)
    metrics = exact.step(make_samples(model, shift=math.log(2)))  # w = 1/2 everywhere
    assert metrics["sampling_importance_ratio"] == pytest.approx(0.5, abs=1e-6)
    assert metrics["token_mult_prob_error"] == pytest.approx(2.0, abs=1e-6)
    assert metrics["is_oob_ratio"] == 0.0


def test_without_advantage_nothing_moves(fake_model, make_samples) -> None:
    model = fake_model()
    samples = make_samples(model)
    for sample in samples:
        sample.advantage = 0.0
    before = state(model)
    metrics = learner(model).step(samples)
    assert_same(before, state(model))
    assert metrics["num_valid_samples"] == 0 and "loss" not in metrics


def test_the_router_stays_and_its_bias_moves(fake_model, make_samples) -> None:
    model = fake_model()
    before = state(model)
    learner(model, expert_bias_rate=0.01).step(make_samples(model))
    after = state(model)
    assert torch.equal(before["mixture.gate.weight"], after["mixture.gate.weight"])
    moved = after["mixture.gate.bias"] - before["mixture.gate.bias"]
    assert sorted(set(moved.abs().tolist())) in ([pytest.approx(0.01)], [0.0, pytest.approx(0.01)])
    assert not torch.equal(before["mix"], after["mix"])


def test_scoring_counts_no_load_and_moves_no_bias(fake_model) -> None:
    model = fake_model()
    learner(model).score([[1, 2, 3], [4, 5]])
    assert float(model.mixture.expert_counts.sum()) == 0


def test_scores_are_of_each_token_given_those_before(fake_model) -> None:
    model = fake_model(dtype=torch.float64)
    sequences = [[1, 2, 3, 4], [5], [6, 7]]
    scores = learner(model, tokens_per_microbatch=4).score(sequences)
    for ids, score in zip(sequences, scores, strict=True):
        hidden = model(torch.tensor(ids), torch.tensor([0, len(ids)]))
        table = (hidden @ model.lm_head.T).log_softmax(-1).detach()
        expected = [0.0, *(float(table[t - 1, ids[t]]) for t in range(1, len(ids)))]
        assert score.tolist() == pytest.approx(expected, abs=1e-6)


def test_temperature_divides_the_logits(fake_model, make_samples) -> None:
    model = fake_model(dtype=torch.float64)
    made = learner(model, temperature=2.0)
    (batch,) = made._pack(make_samples(model, count=1))
    logprobs, _ = made._forward(batch)
    hidden = model(batch.token_ids, batch.cu_seqlens)[batch.rows]
    table = (hidden @ model.lm_head.T / 2.0).log_softmax(-1)
    torch.testing.assert_close(logprobs, table.gather(1, batch.targets[:, None])[:, 0])


def test_a_gradient_that_is_not_a_number_is_refused(fake_model, make_samples) -> None:
    model = fake_model()
    samples = make_samples(model)
    made = learner(model, minibatches=1)
    samples[0].advantage = math.inf
    before = state(model)
    with pytest.raises(NonFinite):
        made.step(samples)
    assert_same(before, state(model))


def test_the_warm_start_learns_and_trains_the_router(fake_model, make_samples) -> None:
    model = fake_model()
    samples = make_samples(model)
    made = Learner(model, RECIPE, ObjectiveRecipe())
    made.begin("sft", 0.02)
    router = model.mixture.gate.weight.detach().clone()
    losses = [made.sft_step(samples)["sft/loss"] for _ in range(60)]
    assert losses[-1] < 0.8 * losses[0]
    assert not torch.equal(router, model.mixture.gate.weight)


def test_sft_loss_is_the_mean_over_trained_tokens(fake_model, make_samples) -> None:
    model = fake_model(dtype=torch.float64)
    samples = make_samples(model)
    scores = Learner(model, RECIPE, ObjectiveRecipe()).score([s.token_ids for s in samples])
    expected = -sum(score[s.loss_mask].sum() for s, score in zip(samples, scores, strict=True))
    made = Learner(model, RECIPE, ObjectiveRecipe())
    made.begin("sft", 0.02)
    assert made.sft_step(samples)["sft/loss"] == pytest.approx(expected / sum(s.num_trained for s in samples), rel=1e-6)


def test_an_unknown_phase_is_refused(fake_model) -> None:
    with pytest.raises(BadRequest, match="dpo"):
        Learner(fake_model(), RECIPE, ObjectiveRecipe()).begin("dpo", 1e-3)


def test_a_step_with_nothing_to_learn_still_measures_the_mismatch(fake_model, make_samples) -> None:
    model = fake_model()
    made, samples = learner(model), make_samples(model)
    for sample in samples:
        sample.advantage = 0.0
    before = state(model)
    metrics = made.step(samples)
    assert metrics["num_valid_samples"] == 0
    assert metrics["token_mult_prob_error"] == pytest.approx(1.0, abs=1e-6)
    assert_same(before, state(model))
    for sample in samples:
        sample.logprobs = sample.logprobs - 0.5 * sample.loss_mask
    with pytest.raises(MismatchExceeded):
        made.step(samples)


def test_at_the_start_the_anchor_pulls_nowhere(fake_model, make_samples) -> None:
    free, held = fake_model(), fake_model()
    batch = make_samples(free)
    learner(free, minibatches=1).step(batch)
    metrics = learner(held, minibatches=1, objective={"kl_coef": 10.0}).step(batch)
    assert metrics["kl_penalty"] == 0.0
    assert_same(state(free), state(held))


def test_the_anchor_holds_a_policy_near_where_it_began(fake_model, make_samples) -> None:
    drift = {}
    for kl_coef in (1e-12, 10.0):
        model = fake_model()
        objective = {"kl_coef": kl_coef, "importance": "off"}
        made = learner(model, minibatches=1, mismatch_gate=1e9, objective=objective)
        batch = make_samples(model)
        for step in range(20):
            metrics = made.step(batch, step)
        drift[kl_coef] = metrics["kl_penalty"]
    assert 0.0 < drift[10.0] < 0.2 * drift[1e-12]


def test_without_a_coefficient_there_is_no_reference(fake_model, make_samples) -> None:
    model = fake_model()
    made = learner(model)
    assert made.reference is None
    assert "kl_penalty" not in made.step(make_samples(model))


def test_counting_every_rollout_only_scales_the_loss(fake_model, make_samples) -> None:
    losses = {}
    for over in ("used", "all"):
        model = fake_model(dtype=torch.float64)
        batch = make_samples(model)
        batch[0].advantage = 0.0
        made = learner(model, minibatches=1, objective={"normalise_over": over})
        losses[over] = made.step(batch)["loss"]
    idle = batch[0].num_trained
    trained = sum(sample.num_trained for sample in batch[1:])
    assert losses["all"] == pytest.approx(losses["used"] * trained / (trained + idle), rel=1e-9)


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_trains_and_packing_changes_nothing(fake_model, make_samples, preset: str) -> None:
    objective = parse_recipe({"name": "x", "environments": {"e": {}}, "objective": {"preset": preset}}).objective
    states = []
    for budget in (1, 10_000):
        model = fake_model(dtype=torch.float64)
        changed = replace(RECIPE, tokens_per_microbatch=budget, minibatches=1)
        made = Learner(model, changed, objective, seed=3)
        made.begin("grpo", 1e-3)
        before = state(model)
        made.step(make_samples(model))
        assert any(not torch.equal(value, before[name]) for name, value in state(model).items())
        states.append(state(model))
    for name, value in states[0].items():
        assert float((value - states[1][name]).abs().max()) < 1e-9, name


@pytest.mark.parametrize("budget", [1, 10_000])
@pytest.mark.parametrize("aggregate", ["token", "sequence"])
@pytest.mark.parametrize("kl_coef", [0.0, 0.3])
def test_a_sequence_whose_error_is_too_large_might_as_well_not_be_there(
    fake_model, make_samples, aggregate: str, kl_coef: float, budget: int
) -> None:
    """It leaves the normaliser and the anchor too (NeMo RL takes it out of the batch before anything is counted)."""
    found = []
    for there in (True, False):
        model = fake_model(dtype=torch.float64)
        batch = make_samples(model)
        batch[2].logprobs = batch[2].logprobs - 1.0 * batch[2].loss_mask  # exp(1) = 2.7 on every token
        objective = PRESETS["nano"] | {"aggregate": aggregate, "kl_coef": kl_coef}
        made = learner(
            model, minibatches=1, mismatch_gate=9.0, objective=objective, expert_bias_rate=0.0,
            tokens_per_microbatch=budget,
        )  # fmt: skip
        with torch.no_grad():
            model.lm_head.mul_(1.01)  # away from the anchor
        metrics = made.step(batch if there else batch[:2] + batch[3:])
        assert metrics["num_masked_seqs_by_logprob_error"] == (1 if there else 0)
        found.append((metrics["loss"], metrics["grad_norm"], state(model)))
    (loss, norm, here), (other_loss, other_norm, other) = found
    assert loss == pytest.approx(other_loss, abs=1e-12) and norm == pytest.approx(other_norm, abs=1e-12)
    for name, value in here.items():
        assert float((value.double() - other[name].double()).abs().max()) < 1e-9, name


def test_a_batch_of_nothing_but_dropped_sequences_moves_nothing(fake_model, make_samples) -> None:
    model = fake_model()
    batch = make_samples(model, shift=-1.0)
    made = learner(model, minibatches=1, mismatch_gate=9.0, objective=PRESETS["nano"], expert_bias_rate=0.0)
    before = state(model)
    metrics = made.step(batch)
    assert metrics["num_masked_seqs_by_logprob_error"] == len(batch) and metrics["loss"] == 0.0
    assert_same(state(model), before | {"mixture.expert_counts": model.mixture.expert_counts})
