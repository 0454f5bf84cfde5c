"""Shape of a hybrid Mamba-2 / attention / MoE model, in the field names of Hugging Face's `NemotronHConfig`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, NamedTuple

MAMBA, MOE, ATTENTION = "M", "E", "*"
LAYER_NAMES = {MAMBA: "linear_attention", MOE: "moe", ATTENTION: "full_attention"}
LAYER_LETTERS = {name: letter for letter, name in LAYER_NAMES.items()} | {"mamba": MAMBA, "attention": ATTENTION}
NANO_PATTERN = "MEMEM*E" * 5 + "ME" * 3 + "M*E" + "ME" * 4

# What a config.json may ask for and this model does not have: field -> the only value accepted.
_FIXED = {
    "tie_word_embeddings": False,
    "attention_bias": False,
    "mlp_bias": False,
    "use_bias": False,
    "mamba_proj_bias": False,
    "use_conv_bias": True,
    "n_group": 1,
    "topk_group": 1,
    "moe_latent_size": None,
    "sliding_window": None,
    "mlp_hidden_act": "relu2",
    "mamba_hidden_act": "silu",
    "residual_in_fp32": False,
    "attention_dropout": 0.0,
    "hidden_dropout": 0.0,
}
# Older spellings that transformers reads too: alias -> field.
_ALIASES = {
    "mamba_n_groups": "n_groups",
    "mamba_d_conv": "conv_kernel",
    "mamba_chunk_size": "chunk_size",
    "mamba_dt_min": "time_step_min",
    "mamba_dt_max": "time_step_max",
    "mamba_dt_init_floor": "time_step_floor",
    "mamba_dt_limit": "time_step_limit",
    "mamba_conv_bias": "use_conv_bias",
    "num_local_experts": "n_routed_experts",
    "layer_types": "layers_block_type",
}


class ParameterCount(NamedTuple):
    """Number of parameters, selection biases not counted (they are buffers).

    `active` is what one token multiplies with, output head included, lookup table excluded.
    """

    total: int
    active: int
    active_with_embeddings: int


@dataclass(frozen=True)
class HybridConfig:
    """One mixer per layer, named by `hybrid_override_pattern`: M Mamba-2, E mixture of experts, * attention."""

    vocab_size: int
    hidden_size: int
    hybrid_override_pattern: str
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    mamba_num_heads: int
    mamba_head_dim: int
    n_groups: int
    ssm_state_size: int
    conv_kernel: int
    chunk_size: int
    n_routed_experts: int
    num_experts_per_tok: int
    moe_intermediate_size: int
    moe_shared_expert_intermediate_size: int
    n_shared_experts: int = 1
    routed_scaling_factor: float = 2.5
    norm_topk_prob: bool = True
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    rescale_prenorm_residual: bool = True
    time_step_min: float = 0.001
    time_step_max: float = 0.1
    time_step_floor: float = 1e-4
    max_position_embeddings: int = 262144
    bos_token_id: int = 1
    eos_token_id: int | tuple[int, ...] = 2
    pad_token_id: int = 0

    def __post_init__(self) -> None:
        _validate(self)

    @property
    def num_hidden_layers(self) -> int:
        return len(self.hybrid_override_pattern)

    @property
    def mamba_inner_size(self) -> int:
        """Width of the Mamba stream: heads x head dimension (the `expand` of config.json is not used)."""
        return self.mamba_num_heads * self.mamba_head_dim

    @property
    def conv_dim(self) -> int:
        """Channels of the short convolution: x, then B and C of every group."""
        return self.mamba_inner_size + 2 * self.n_groups * self.ssm_state_size

    @property
    def in_proj_size(self) -> int:
        """Rows of `in_proj`: z | x | B | C | dt."""
        return self.mamba_inner_size + self.conv_dim + self.mamba_num_heads

    @property
    def qkv_size(self) -> int:
        return (self.num_attention_heads + 2 * self.num_key_value_heads) * self.head_dim

    def layer_indices(self, kind: str) -> tuple[int, ...]:
        """Positions of the layers of one kind ("M", "E" or "*")."""
        return tuple(index for index, letter in enumerate(self.hybrid_override_pattern) if letter == kind)

    @classmethod
    def tiny(cls, vocab_size: int, **overrides: Any) -> HybridConfig:
        """The demo's model: about 0.2M parameters, all three kinds of layer, quick on one CPU core."""
        config = cls(
            vocab_size=vocab_size,
            hidden_size=64,
            hybrid_override_pattern="MEM*EME",
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=16,
            mamba_num_heads=2,
            mamba_head_dim=32,
            n_groups=1,
            ssm_state_size=16,
            conv_kernel=4,
            chunk_size=32,
            n_routed_experts=8,
            num_experts_per_tok=2,
            moe_intermediate_size=32,
            moe_shared_expert_intermediate_size=64,
            max_position_embeddings=4096,
            initializer_range=0.08,  # learns faster at this width than the published 0.02
        )
        return replace(config, **overrides)

    @classmethod
    def nano(cls) -> HybridConfig:
        """The published Nemotron 3 Nano 30B-A3B."""
        return cls(
            vocab_size=131072,
            hidden_size=2688,
            hybrid_override_pattern=NANO_PATTERN,
            num_attention_heads=32,
            num_key_value_heads=2,
            head_dim=128,
            mamba_num_heads=64,
            mamba_head_dim=64,
            n_groups=8,
            ssm_state_size=128,
            conv_kernel=4,
            chunk_size=128,
            n_routed_experts=128,
            num_experts_per_tok=6,
            moe_intermediate_size=1856,
            moe_shared_expert_intermediate_size=3712,
        )

    def to_hf(self) -> dict[str, Any]:
        """The content of a config.json that transformers and vLLM read."""
        values = asdict(self)
        if isinstance(self.eos_token_id, tuple):
            values["eos_token_id"] = list(self.eos_token_id)
        derived = {
            "architectures": ["NemotronHForCausalLM"],
            "model_type": "nemotron_h",
            "num_hidden_layers": self.num_hidden_layers,
            "intermediate_size": self.moe_intermediate_size,
            "mamba_ssm_cache_dtype": "float32",
            "num_nextn_predict_layers": 0,
        }
        return values | _FIXED | derived

    @classmethod
    def from_hf(cls, values: Mapping[str, Any]) -> HybridConfig:
        """Read the content of a config.json; fields that change nothing here are ignored.

        Multi-token prediction (num_nextn_predict_layers) is ignored with its tensors: it changes no next token.
        Raises ValueError that names the field when it is missing, or asks for a feature this model lacks.
        """
        if values.get("model_type", "nemotron_h") != "nemotron_h":
            raise ValueError(f"config.json: model_type {values['model_type']!r} is not 'nemotron_h'")
        values = {_ALIASES.get(name, name): value for name, value in values.items() if value is not None}
        if (quantised := values.get("quantization_config")) is not None:
            raise ValueError(f"config.json: quantization_config={quantised!r} is not supported; load bf16 weights")
        _check_time_step_limit(values.get("time_step_limit"))
        for name, accepted in _FIXED.items():
            if name in values and values[name] != accepted:
                raise ValueError(f"config.json: {name}={values[name]!r} is not supported; it must be {accepted!r}")
        known = {field.name for field in fields(cls)}
        chosen = {name: value for name, value in values.items() if name in known}
        chosen["hybrid_override_pattern"] = pattern = _read_pattern(values)
        # Beside a list of layers the number is a leftover that transformers ignores too.
        if "layers_block_type" not in values and values.get("num_hidden_layers", len(pattern)) != len(pattern):
            raise ValueError(
                f"config.json: num_hidden_layers={values['num_hidden_layers']} but the pattern {pattern!r} has "
                f"{len(pattern)} layers"
            )
        if isinstance(chosen.get("eos_token_id"), list):
            chosen["eos_token_id"] = tuple(chosen["eos_token_id"])
        if "routed_scaling_factor" not in chosen:
            # transformers would read 1.0 and train on another model than the published 2.5 says.
            raise ValueError("config.json: routed_scaling_factor is missing; Nemotron 3 Nano has 2.5")
        try:
            return cls(**chosen)
        except TypeError as error:
            raise ValueError(f"config.json: {error}") from error

    def count_parameters(self) -> ParameterCount:
        """Closed form, equal to the parameters of `HybridModel(self, device="meta")`."""
        d, inner = self.hidden_size, self.mamba_inner_size
        mamba = (
            self.in_proj_size * d
            + self.conv_dim * (self.conv_kernel + 1)
            + 3 * self.mamba_num_heads
            + inner
            + d * inner
        )
        attention = self.qkv_size * d + d * self.num_attention_heads * self.head_dim
        expert = 2 * d * self.moe_intermediate_size
        dense_moe = self.n_routed_experts * d + 2 * d * self.moe_shared_expert_intermediate_size
        num_moe = len(self.layer_indices(MOE))
        body = (
            len(self.layer_indices(MAMBA)) * mamba
            + len(self.layer_indices(ATTENTION)) * attention
            + num_moe * dense_moe
            + (self.num_hidden_layers + 1) * d
        )
        vocabulary = self.vocab_size * d
        active = body + num_moe * self.num_experts_per_tok * expert + vocabulary
        total = body + num_moe * self.n_routed_experts * expert + 2 * vocabulary
        return ParameterCount(total, active, active + vocabulary)


def _check_time_step_limit(limit: Any) -> None:
    """dt is never clamped here: where it is small, a clamp changes the output of the layer by more than its size."""
    if limit is None:
        return
    # JSON has no infinity: transformers writes {"__float__": "Infinity"} or a bare Infinity.
    numbers = [x.get("__float__") if isinstance(x, Mapping) else x for x in limit] if isinstance(limit, list) else []
    if [str(x).lower() for x in numbers] not in (["0.0", "infinity"], ["0.0", "inf"], ["0", "inf"], ["0", "infinity"]):
        raise ValueError(f"config.json: time_step_limit={limit!r} is not supported; it must be [0.0, Infinity]")


def _read_pattern(values: Mapping[str, Any]) -> str:
    """The layer pattern from the pattern string, or from the list that newer transformers write."""
    pattern, names = values.get("hybrid_override_pattern"), values.get("layers_block_type")
    if names is not None:
        unknown = sorted(set(names) - set(LAYER_LETTERS))
        if unknown:
            raise ValueError(f"config.json: layers_block_type has {unknown}; known kinds are {sorted(LAYER_LETTERS)}")
        spelled = "".join(LAYER_LETTERS[name] for name in names)
        if pattern is not None and pattern != spelled:
            raise ValueError(
                f"config.json: hybrid_override_pattern {pattern!r} and layers_block_type {spelled!r} disagree"
            )
        pattern = spelled
    if pattern is None:
        raise ValueError("config.json: hybrid_override_pattern (or layers_block_type) is missing")
    return str(pattern)


def _validate(config: HybridConfig) -> None:
    for field in fields(config):
        value = getattr(config, field.name)
        if field.type == "int" and not field.name.endswith("token_id") and (not isinstance(value, int) or value < 1):
            raise ValueError(f"{field.name} must be a positive integer, got {value!r}")
        if field.type == "float" and not (isinstance(value, int | float) and value > 0):
            raise ValueError(f"{field.name} must be a positive number, got {value!r}")
    pattern = config.hybrid_override_pattern
    if not pattern or set(pattern) - set(LAYER_NAMES):
        raise ValueError(
            f"hybrid_override_pattern must be made of the letters M (Mamba-2), E (experts) and * (attention), "
            f"got {pattern!r}"
        )
    _require_multiple(config, "num_attention_heads", "num_key_value_heads")
    _require_multiple(config, "mamba_num_heads", "n_groups")
    if config.n_shared_experts != 1:
        raise ValueError(
            f"n_shared_experts must be 1, got {config.n_shared_experts}: several shared experts are one wider one, "
            "so give their summed width as moe_shared_expert_intermediate_size"
        )
    if config.num_experts_per_tok > config.n_routed_experts:
        raise ValueError(
            f"num_experts_per_tok {config.num_experts_per_tok} exceeds n_routed_experts {config.n_routed_experts}"
        )
    if config.conv_kernel < 2:
        raise ValueError(f"conv_kernel must be at least 2, got {config.conv_kernel}")
    if config.time_step_min > config.time_step_max:
        raise ValueError(f"time_step_min {config.time_step_min} exceeds time_step_max {config.time_step_max}")
    eos = config.eos_token_id if isinstance(config.eos_token_id, tuple) else (config.eos_token_id,)
    for name, ids in (("bos", (config.bos_token_id,)), ("eos", eos), ("pad", (config.pad_token_id,))):
        if any(not 0 <= token < config.vocab_size for token in ids):
            raise ValueError(f"{name}_token_id {ids} lies outside the vocabulary of {config.vocab_size}")


def _require_multiple(config: HybridConfig, name: str, divisor: str) -> None:
    value, unit = getattr(config, name), getattr(config, divisor)
    if value % unit:
        raise ValueError(f"{name} {value} must be a multiple of {divisor} {unit}")
