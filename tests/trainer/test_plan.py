"""The closed forms of a plan, against numbers worked by hand and against each other."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gym_core.errors import BadRequest
from model import counting
from model.config import HybridConfig
from trainer.config import Recipe, load_recipe, parse_recipe
from trainer.plan import GIB, Assumptions, decode_bytes, fitting, plan, spread

NANO = HybridConfig.nano()
ALONE = {"layout.tp": 1, "layout.cp": 1}


def nano(**overrides: Any) -> Recipe:
    return load_recipe("nano-rlvr", overrides)


def test_the_published_layout_on_the_published_number_of_gpus() -> None:
    made = plan(nano(), 256)
    assert made.layout == {"dp": 32, "ep": 8, "tp": 2, "cp": 4, "world": 256}
    assert made.policy == {"engine": "vllm", "tp": 4, "replicas": 64}
    assert made.fits and made.problems == []
    assert made.tokens_per_step == {"prompt": 128 * 16 * 1024, "output": 128 * 16 * 49152 // 4}


def test_memory_of_the_learner_is_16_bytes_per_parameter_over_all_gpus() -> None:
    total = NANO.count_parameters().total
    held = plan(nano(), 256).memory_gib
    state = held["weights"] + held["gradients"] + held["optimizer"]
    assert state == pytest.approx(16 * total / 256 / GIB, rel=0.01)
    assert held["policy_weights"] == pytest.approx(counting.checkpoint_bytes(NANO) / 4 / GIB, abs=1e-3)


def test_memory_of_a_sample_on_a_replica_of_four() -> None:
    """Mamba states are split by four; there are two key/value heads, so keys and values only by two."""
    held = plan(nano(), 256).memory_gib
    by_hand = counting.state_bytes(NANO) / 4 + 81920 * 6144 / 2
    assert held["one_sample"] == pytest.approx(by_hand / GIB, abs=1e-3)


def test_seconds_of_training_worked_by_hand() -> None:
    """3.228e9 active, 6 attention layers of 2 x 4096 per token and half the length; 4 passes of 2 FLOPs; MFU 0.25."""
    given = Assumptions(mean_prompt=1000, mean_output=3000)
    made = plan(nano(), 256, "h200", given)
    active = NANO.count_parameters().active
    flops = 2 * (active + 6 * 2 * 4096 * 4000 / 2) * 4 * 2048 * 4000
    assert made.step_seconds["train"] == pytest.approx(flops / (256 * 989e12 * 0.25), rel=1e-3)


def test_no_recomputation_is_three_passes_and_more_memory() -> None:
    again, kept = plan(nano(), 256), plan(nano(**{"layout.recompute": ""}), 256)
    assert kept.step_seconds["train"] == pytest.approx(again.step_seconds["train"] * 3 / 4, rel=1e-3)
    assert kept.memory_gib["activations"] > again.memory_gib["activations"]


def test_more_minibatches_score_their_samples_once_more() -> None:
    one, four = plan(nano(), 256), plan(nano(**{"grpo.minibatches": 4}), 256)
    assert four.step_seconds["train"] == pytest.approx(one.step_seconds["train"] * 4.75 / 4, rel=1e-3)


@pytest.mark.parametrize(("batch", "weights_gb", "state_gb"), [(1, 6.5, 0.1), (32, 49.8, 3.1), (128, 62.3, 12.6)])
def test_decoding_moves_the_bytes_of_the_roofline(batch: int, weights_gb: float, state_gb: float) -> None:
    """Against the published roofline at 16k: weights of the experts met, states read and written, 0.10 GB of keys."""
    expected = weights_gb + state_gb + batch * 16384 * 6144 / 1e9
    assert decode_bytes(NANO, batch, 16384) / 1e9 == pytest.approx(expected, rel=0.02)


def test_twice_the_gpus_take_half_the_time_of_training_and_half_the_state() -> None:
    small, large = plan(nano(), 128), plan(nano(), 256)
    assert large.step_seconds["train"] == pytest.approx(small.step_seconds["train"] / 2, rel=1e-3)
    assert large.memory_gib["optimizer"] == pytest.approx(small.memory_gib["optimizer"] / 2, abs=2e-3)
    assert large.step_seconds["generate"] < small.step_seconds["generate"]


def test_what_does_not_fit_says_which_phase_and_what_would() -> None:
    recipe = nano(**ALONE)
    made = plan(recipe, 16, "h100")
    assert not made.fits
    assert made.problems == ["while training a GPU holds 70.1 GiB of its 68.5"]
    others = fitting(recipe, 16, "h100")
    assert others and all(other.fits and other.layout["world"] == 16 for other in others)
    talk = [other.layout["tp"] * other.layout["cp"] for other in others]
    assert talk == sorted(talk)
    assert fitting(recipe, 8, "h100") == []


def test_a_policy_share_without_room_for_one_sample_is_a_problem() -> None:
    made = plan(nano(**{"policy.memory_share": 0.1}), 256)
    assert any("leaves 0.0 GiB for states" in problem for problem in made.problems)


def test_a_microbatch_shorter_than_a_sample_is_a_problem() -> None:
    made = plan(nano(**{"grpo.tokens_per_microbatch": 8192}), 256)
    assert any("grpo.tokens_per_microbatch 8192" in problem for problem in made.problems)


@pytest.mark.parametrize(
    ("overrides", "gpus", "gpu", "field", "said"),
    [
        ({}, 250, "h200", "layout", "a multiple of 8"),
        ({"layout.dp": 4}, 256, "h200", "layout", "exactly 32"),
        ({"layout.tp": 16}, 256, "h200", "layout", "n_groups 8"),
        ({"policy.tp": 3}, 256, "h200", "policy.tp", "does not divide 256"),
        ({"policy.replicas": 65}, 256, "h200", "policy.replicas", "65 replicas of 4 GPUs each are more than 256"),
        ({}, 256, "h300", "gpu", "h300"),
    ],
)
def test_what_cannot_be_planned(overrides: dict[str, Any], gpus: int, gpu: str, field: str, said: str) -> None:
    with pytest.raises(BadRequest, match=said) as caught:
        plan(nano(**overrides), gpus, gpu)
    assert caught.value.field == field


def test_so_many_replicas_sample_as_the_recipe_says() -> None:
    """A quarter of them plays four times the samples each, and reads prompts on a quarter of the GPUs."""
    most, few = plan(nano(), 256), plan(nano(**{"policy.replicas": 16}), 256)
    assert (most.policy["replicas"], few.policy["replicas"]) == (64, 16)
    assert plan(nano(**{"policy.replicas": 64}), 256).step_seconds == most.step_seconds
    assert few.step_seconds["generate"] > most.step_seconds["generate"]
    assert few.step_seconds["train"] == most.step_seconds["train"]


def test_dp_takes_what_is_left() -> None:
    assert spread(nano(), NANO, 64).dp == 8
    assert spread(nano(**ALONE), NANO, 64).dp == 64


@pytest.mark.parametrize("name", ["demo", "ci", "rlvr-tiny", "nano-rlvr", "nano-rlhf"])
def test_every_recipe_has_a_plan(name: str) -> None:
    recipe = load_recipe(name, {"layout.tp": 1, "layout.cp": 1, "layout.ep": 1, "layout.dp": 0, "policy.tp": 1})
    made = plan(recipe, 8)
    assert all(amount >= 0 for amount in (*made.memory_gib.values(), *made.step_seconds.values()))
    assert msgspec.json.encode(made)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"layout": {"ep": 0}}, "1 or more"),
        ({"layout": {"recompute": "MX"}}, "not X"),
        ({"layout": {"pp": 2}}, "layout.pp"),
        ({"policy": {"memory_share": 1.0}}, "memory_share"),
        ({"policy": {"tp": 0}}, "1 or more"),
        ({"checkpoint": "somewhere", "arm": "sft"}, "warm start"),
    ],
)
def test_scale_is_checked_when_it_is_read(table: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_recipe({"name": "x", "environments": {"math": {}}, **table})
    assert said in f"{caught.value} {caught.value.field}"


def test_more_replicas_than_rollouts_have_nothing_to_train_and_save_no_time() -> None:
    """2,048 rollouts over 12,500 replicas: one sample each, whatever is added."""
    many, more = plan(load_recipe("nano-rlvr"), 100_000), plan(load_recipe("nano-rlvr"), 200_000)
    assert not many.fits and "10452 have nothing to train" in many.problems[0]
    assert many.step_seconds["train"] == more.step_seconds["train"] > 0.1
