"""Configuration: the published numbers, config.json both ways, and errors that name the field."""

from __future__ import annotations

import dataclasses

import pytest

from model.config import HybridConfig


def test_published_pattern_and_counts() -> None:
    nano = HybridConfig.nano()
    pattern = nano.hybrid_override_pattern
    assert pattern == "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME"
    assert (len(pattern), pattern.count("M"), pattern.count("E")) == (52, 23, 23)
    assert nano.layer_indices("*") == (5, 12, 19, 26, 33, 42)
    assert (nano.in_proj_size, nano.conv_dim) == (10304, 6144)
    total, active, active_with_embeddings = nano.count_parameters()
    assert total == 31_577_937_344
    assert (round(active / 1e9, 3), round(active_with_embeddings / 1e9, 3)) == (3.228, 3.580)


def test_tiny_is_the_demo_model() -> None:
    tiny = HybridConfig.tiny(320)
    assert tiny.hybrid_override_pattern == "MEM*EME"
    assert tiny.mamba_inner_size == 64 and tiny.conv_dim == 96 and tiny.in_proj_size == 162
    assert 0.15e6 < tiny.count_parameters().total < 0.25e6
    assert HybridConfig.tiny(320, hidden_size=128).hidden_size == 128


@pytest.mark.parametrize("config", [HybridConfig.tiny(320), HybridConfig.nano()])
def test_config_json_round_trip(config: HybridConfig) -> None:
    written = config.to_hf()
    assert written["model_type"] == "nemotron_h" and written["architectures"] == ["NemotronHForCausalLM"]
    assert written["hybrid_override_pattern"] == config.hybrid_override_pattern
    assert HybridConfig.from_hf(written) == config


def test_several_end_tokens_survive() -> None:
    config = HybridConfig.tiny(320, eos_token_id=(2, 11))
    assert config.to_hf()["eos_token_id"] == [2, 11]
    assert HybridConfig.from_hf(config.to_hf()) == config


@pytest.mark.parametrize("names", [["linear_attention", "moe", "full_attention"], ["mamba", "moe", "attention"]])
def test_layer_list_is_read_too(names: list[str]) -> None:
    values = HybridConfig.tiny(320).to_hf()
    del values["hybrid_override_pattern"]
    assert HybridConfig.from_hf(values | {"layers_block_type": names}).hybrid_override_pattern == "ME*"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "llama"}, "model_type 'llama'"),
        ({"tie_word_embeddings": True}, "tie_word_embeddings=True is not supported"),
        ({"n_group": 2}, "n_group=2"),
        ({"layers_block_type": ["mlp"]}, "layers_block_type has .'mlp'."),
        ({"layers_block_type": ["moe"]}, "disagree"),
        ({"hybrid_override_pattern": None}, "hybrid_override_pattern .* is missing"),
        ({"hidden_size": "64"}, "hidden_size must be a positive integer"),
    ],
)
def test_unsupported_config_json(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HybridConfig.from_hf(HybridConfig.tiny(320).to_hf() | change)


def test_missing_field_is_named() -> None:
    values = HybridConfig.tiny(320).to_hf()
    del values["ssm_state_size"]
    with pytest.raises(ValueError, match="ssm_state_size"):
        HybridConfig.from_hf(values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": 0}, "hidden_size must be a positive integer, got 0"),
        ({"layer_norm_epsilon": 0.0}, "layer_norm_epsilon must be a positive number"),
        ({"hybrid_override_pattern": "MX"}, "letters M .* got 'MX'"),
        ({"hybrid_override_pattern": ""}, "hybrid_override_pattern"),
        ({"num_attention_heads": 3}, "num_attention_heads 3 must be a multiple of num_key_value_heads 2"),
        ({"n_groups": 3}, "mamba_num_heads 2 must be a multiple of n_groups 3"),
        ({"num_experts_per_tok": 9}, "num_experts_per_tok 9 exceeds n_routed_experts 8"),
        ({"n_shared_experts": 2}, "n_shared_experts must be 1"),
        ({"conv_kernel": 1}, "conv_kernel must be at least 2"),
        ({"time_step_min": 1.0}, "time_step_min 1.0 exceeds"),
        ({"eos_token_id": 320}, "eos_token_id .* outside the vocabulary of 320"),
    ],
)
def test_impossible_shapes(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HybridConfig.tiny(320, **change)


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        HybridConfig.tiny(320).hidden_size = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"residual_in_fp32": True}, "residual_in_fp32=True is not supported"),
        ({"hidden_dropout": 0.1}, "hidden_dropout=0.1 is not supported"),
        ({"moe_latent_size": 1024}, "moe_latent_size=1024 is not supported"),
        ({"time_step_limit": [0.001, 100.0]}, "time_step_limit=.* is not supported"),
        ({"mamba_dt_limit": 7}, "time_step_limit=7 is not supported"),
        ({"quantization_config": {"quant_method": "modelopt"}}, "quantization_config=.* is not supported"),
        ({"num_hidden_layers": 52}, "num_hidden_layers=52 but the pattern 'MEM.EME' has 7 layers"),
        ({"routed_scaling_factor": None}, "routed_scaling_factor is missing"),
    ],
)
def test_what_would_change_the_maths_is_refused_by_name(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HybridConfig.from_hf(HybridConfig.tiny(320).to_hf() | change)


def test_what_changes_nothing_is_read_over() -> None:
    tiny = HybridConfig.tiny(320)
    harmless = {
        "expand": 2,
        "rope_theta": 10000,
        "partial_rotary_factor": 1.0,
        "norm_eps": 1e-5,
        "num_nextn_predict_layers": 1,
        "mtp_layers_block_type": ["full_attention", "moe"],
        "time_step_limit": [0.0, {"__float__": "Infinity"}],
        "sliding_window": None,
        "transformers_version": "5.23.0",
        "auto_map": {"AutoConfig": "configuration_nemotron_h.NemotronHConfig"},
        "a_field_of_next_year": [1, 2],
    }
    assert HybridConfig.from_hf(tiny.to_hf() | harmless) == tiny
    assert HybridConfig.from_hf(tiny.to_hf() | {"time_step_limit": [0.0, float("inf")]}) == tiny


def test_older_spellings_are_read() -> None:
    tiny = HybridConfig.tiny(320, conv_kernel=3)
    values = tiny.to_hf()
    old = {"conv_kernel": "mamba_d_conv", "n_groups": "mamba_n_groups", "n_routed_experts": "num_local_experts"}
    assert HybridConfig.from_hf({old.get(name, name): value for name, value in values.items()}) == tiny
