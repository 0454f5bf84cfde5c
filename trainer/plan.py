"""What a recipe needs on N GPUs: layout, memory of one of them, tokens and seconds of one step. Nothing is allocated.

Closed forms with their assumptions beside them (`Assumptions`, printed with every plan). Learner and policy share the
GPUs and take turns, as in the published recipe; one is laid over the same memory as the other's caches.

    memory    the learner's share (`model/parallel/memory.py`) + the head's chunk + the policy's weights and states
    generate  prompts read at the compute rate; then samples decoded in step, each step as long as its bytes take:
              weights of the experts that are met, states read and written, keys and values read
    train     6 FLOPs per active parameter and token, 8 where every layer is computed again, attention apart
    publish   the bf16 weights, gathered once over the links of a node
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import msgspec

from gym_core.errors import BadRequest
from model import counting
from model.config import ATTENTION, MOE, HybridConfig
from model.parallel.layout import Layout
from model.parallel.memory import memory
from trainer.build import model_config
from trainer.config import Recipe

GIB = 1 << 30
BF16 = 2


class Gpu(NamedTuple):
    """A GPU's data sheet: bytes of memory, bytes/s of it, dense bf16 FLOP/s, bytes/s of its links in one direction."""

    memory: float
    bandwidth: float
    flops: float
    links: float


GPUS = {
    "a100-80gb": Gpu(80e9, 2.04e12, 312e12, 300e9),
    "h100": Gpu(80e9, 3.35e12, 989e12, 450e9),
    "h200": Gpu(141e9, 4.8e12, 989e12, 450e9),
    "b200": Gpu(180e9, 7.7e12, 2250e12, 900e9),
}


class Assumptions(msgspec.Struct, frozen=True, kw_only=True):
    """What no closed form knows. Shares are of the data sheet's rates; lengths are tokens, 0 for the default.

    `mean_output`: by default a quarter of the longest answer, since no mean was published; `mean_prompt`: 1,024, or
    four times the longest answer where that is less. `usable`: memory that is not driver, contexts and fragments.
    The last sample of a batch is taken to run to the limit, alone on its replica.
    """

    mean_prompt: int = 0
    mean_output: int = 0
    mfu: float = 0.25
    prefill_mfu: float = 0.4
    decode_bandwidth: float = 0.5
    link_share: float = 0.5
    usable: float = 0.92
    logprob_chunk: int = 2048


class Plan(msgspec.Struct, kw_only=True):
    """One recipe on N GPUs. Memory is GiB on the GPU that holds the most, times are seconds of one step."""

    recipe: str
    gpus: int
    gpu: str
    layout: dict[str, int]
    policy: dict[str, Any]
    fits: bool
    problems: list[str]
    memory_gib: dict[str, float]
    tokens_per_step: dict[str, int]
    step_seconds: dict[str, float]
    tokens_per_gpu_second: float
    assumptions: Assumptions


def plan(recipe: Recipe, gpus: int, gpu: str = "h200", given: Assumptions | None = None) -> Plan:
    """What one step of `recipe` takes on `gpus` GPUs of a kind in `GPUS`.

    A plan that does not fit says why in `problems`. Raises BadRequest where no plan can be made: GPUs that the layout
    does not divide, a shape it cannot split, an unknown GPU.
    """
    if gpu not in GPUS:
        raise BadRequest(f"no GPU is called `{gpu}`", field="gpu", hint=f"there are: {', '.join(GPUS)}")
    config, chip = model_config(recipe), GPUS[gpu]
    layout = spread(recipe, config, gpus)
    assumed = given or Assumptions()
    assumed = msgspec.structs.replace(
        assumed,
        mean_prompt=assumed.mean_prompt or min(1024, 4 * recipe.grpo.max_output_tokens),
        mean_output=assumed.mean_output or max(1, recipe.grpo.max_output_tokens // 4),
    )
    longest = recipe.policy.max_length or assumed.mean_prompt + recipe.grpo.max_output_tokens
    held = _memory(recipe, config, layout, assumed, chip, longest)
    batch = recipe.grpo.prompts_per_step * recipe.grpo.group_size
    problems = _problems(recipe, held, assumed, longest)
    if layout.dp > batch:
        problems.append(
            f"{layout.dp} replicas of the data share {batch} rollouts a step: {layout.dp - batch} have nothing to train"
        )
    tokens = {"prompt": batch * assumed.mean_prompt, "output": batch * assumed.mean_output}
    seconds = {
        "generate": _generate_s(recipe, config, gpus, assumed, chip, held),
        "train": _train_s(recipe, config, layout, assumed, chip),
        "publish": counting.checkpoint_bytes(config) / (chip.links * assumed.link_share),
    }
    seconds["total"] = sum(seconds.values())
    return Plan(
        recipe=recipe.name,
        gpus=gpus,
        gpu=gpu,
        layout={"dp": layout.dp, "ep": layout.ep, "tp": layout.tp, "cp": layout.cp, "world": layout.world},
        policy={"engine": recipe.policy.engine, "tp": recipe.policy.tp, "replicas": replicas_of(recipe, gpus)},
        fits=not problems,
        problems=problems,
        memory_gib={name: round(amount / GIB, 3) for name, amount in held.items()},
        tokens_per_step=tokens,
        step_seconds={name: round(took, 3) for name, took in seconds.items()},
        tokens_per_gpu_second=round(sum(tokens.values()) / seconds["total"] / gpus, 2),
        assumptions=assumed,
    )


def replicas_of(recipe: Recipe, gpus: int) -> int:
    """How many policy servers sample: those that the recipe asks for, or with one, the default, as many as there is
    room for. Raises BadRequest where there is no room for as many."""
    room = gpus // recipe.policy.tp
    if recipe.policy.replicas > room:
        raise BadRequest(
            f"{recipe.policy.replicas} replicas of {recipe.policy.tp} GPUs each are more than {gpus} GPUs hold",
            field="policy.replicas",
            hint=f"--set policy.replicas={room}, or fewer; 1 takes as many as there is room for",
        )
    return recipe.policy.replicas if recipe.policy.replicas > 1 else room


def spread(recipe: Recipe, config: HybridConfig, gpus: int) -> Layout:
    """The recipe's layout over exactly `gpus` processes, `dp = 0` filled in. Raises BadRequest naming what is off."""
    wanted = recipe.layout
    inner = wanted.tp * wanted.cp
    dp = wanted.dp or gpus // inner
    if gpus < 1 or dp * inner != gpus:
        counts = f"a multiple of {inner}" if not wanted.dp else f"exactly {wanted.dp * inner}"
        raise BadRequest(
            f"layout tp {wanted.tp} x cp {wanted.cp}{f' x dp {wanted.dp}' if wanted.dp else ''} wants {counts} GPUs, "
            f"not {gpus}",
            field="layout",
            hint="--set layout.dp=0 fills in the rest; or change --gpus",
        )
    if gpus % recipe.policy.tp:
        raise BadRequest(f"policy.tp {recipe.policy.tp} does not divide {gpus} GPUs", field="policy.tp")
    try:
        layout = Layout(dp=dp, ep=wanted.ep, tp=wanted.tp, cp=wanted.cp)
        layout.require(config)
    except ValueError as error:
        raise BadRequest(str(error), field="layout", hint="--set layout.ep=… (or tp, cp) on the command line") from None
    return layout


def fitting(recipe: Recipe, gpus: int, gpu: str = "h200", given: Assumptions | None = None) -> list[Plan]:
    """Layouts of these GPUs that fit, the one that talks least first: small tp x cp, then small ep."""
    found = []
    sizes = [1 << power for power in range(gpus.bit_length())]
    for tp in sizes:
        for cp in sizes:
            for ep in sizes:
                layout = msgspec.structs.replace(recipe.layout, dp=0, tp=tp, cp=cp, ep=ep, recompute="ME*")
                try:
                    made = plan(msgspec.structs.replace(recipe, layout=layout), gpus, gpu, given)
                except BadRequest:
                    continue
                if made.fits:
                    found.append(made)
    return sorted(found, key=lambda made: (made.layout["tp"] * made.layout["cp"], made.layout["ep"], made.layout["tp"]))


def _memory(
    recipe: Recipe, config: HybridConfig, layout: Layout, assumed: Assumptions, chip: Gpu, longest: int
) -> dict[str, float]:
    """Bytes by what they are for; `policy_states` is what the policy's share leaves for samples.

    While the policy samples, the learner keeps its weights and moments; while it trains, the policy its weights.
    """
    tokens = recipe.grpo.tokens_per_microbatch
    learner = memory(config, layout, tokens)
    own = -(-tokens // layout.cp)
    kept = learner.layer_inputs if recipe.layout.recompute else _every_activation(config, layout, own)
    chunk = min(assumed.logprob_chunk, own) * (config.vocab_size // layout.tp)
    share = recipe.policy.memory_share * chip.memory * assumed.usable
    weights = counting.checkpoint_bytes(config) / recipe.policy.tp
    working = sum(learner[1:]) - learner.layer_inputs + kept + 2 * 4 * chunk
    states = max(0.0, share - weights)
    return {
        "weights": learner.weights,
        "gradients": learner.gradients,
        "optimizer": learner.optimiser,
        "activations": kept + learner.one_layer,
        "in_passing": learner.in_passing,
        "logits_chunk": 2 * 4 * chunk,
        "policy_weights": weights,
        "policy_states": states,
        "one_sample": _sample_bytes(recipe, config, longest),
        "peak_training": working + weights,
        "peak_generating": learner.weights + learner.optimiser + weights + states,
        "available": chip.memory * assumed.usable,
    }


def _sample_bytes(recipe: Recipe, config: HybridConfig, length: int) -> float:
    """Bytes of one sample on each GPU of a replica; key/value heads are repeated where a replica has more GPUs."""
    kv = length * counting.kv_bytes_per_token(config) / min(recipe.policy.tp, config.num_key_value_heads)
    return counting.state_bytes(config) / recipe.policy.tp + kv


def _every_activation(config: HybridConfig, layout: Layout, own: int) -> float:
    """Bytes that a backward pass without recomputation keeps: the inputs and the inner streams of every layer."""
    inner = {
        MOE: config.num_experts_per_tok * (config.hidden_size + 2 * config.moe_intermediate_size)
        + 2 * config.moe_shared_expert_intermediate_size,
        ATTENTION: config.qkv_size + config.num_attention_heads * config.head_dim,
    }
    mamba = config.in_proj_size + config.conv_dim + 2 * config.mamba_inner_size
    numbers = sum(config.hidden_size + inner.get(kind, mamba) / layout.tp for kind in config.hybrid_override_pattern)
    return BF16 * own * numbers


def _problems(recipe: Recipe, held: dict[str, float], assumed: Assumptions, longest: int) -> list[str]:
    """Why it does not fit, in numbers. The policy's weights stay while the learner works, its states do not."""
    problems = [
        f"while {phase} a GPU holds {held[f'peak_{phase}'] / GIB:.1f} GiB of its {held['available'] / GIB:.1f}"
        for phase in ("training", "generating")
        if held[f"peak_{phase}"] > held["available"]
    ]
    if held["policy_states"] < held["one_sample"]:
        problems.append(
            f"the policy's share of {recipe.policy.memory_share:.0%} leaves {held['policy_states'] / GIB:.1f} GiB for "
            f"states; one sample of {longest} tokens takes {held['one_sample'] / GIB:.2f}"
        )
    if recipe.grpo.tokens_per_microbatch < assumed.mean_prompt + assumed.mean_output:
        problems.append(
            f"grpo.tokens_per_microbatch {recipe.grpo.tokens_per_microbatch} is less than one sample of "
            f"{assumed.mean_prompt} + {assumed.mean_output} tokens"
        )
    return problems


def _generate_s(
    recipe: Recipe, config: HybridConfig, gpus: int, assumed: Assumptions, chip: Gpu, held: dict[str, float]
) -> float:
    """Seconds until the last sample of the batch is whole."""
    batch = recipe.grpo.prompts_per_step * recipe.grpo.group_size
    replicas = replicas_of(recipe, gpus)
    each = math.ceil(batch / replicas)
    mean_length = assumed.mean_prompt + assumed.mean_output // 2
    room = max(1, int(held["policy_states"] // _sample_bytes(recipe, config, mean_length)))
    running = min(each, room)
    rate = recipe.policy.tp * chip.bandwidth * assumed.decode_bandwidth
    rounds = math.ceil(each / running) * assumed.mean_output
    tail = max(0, recipe.grpo.max_output_tokens - assumed.mean_output)
    decode = rounds * decode_bytes(config, running, mean_length) / rate
    decode += tail * decode_bytes(config, 1, recipe.grpo.max_output_tokens) / rate
    active = config.count_parameters().active
    prompts = recipe.grpo.prompts_per_step * assumed.mean_prompt  # the siblings of a group share one prompt's states
    sampling = replicas * recipe.policy.tp
    return decode + 2 * active * prompts / (sampling * chip.flops * assumed.prefill_mfu)


def decode_bytes(config: HybridConfig, batch: int, length: int) -> float:
    """Bytes that one decoding step of `batch` samples of `length` tokens moves (facts: the decode roofline).

    Weights in bf16, of experts those that some token of the batch is sent to (uniform routing); Mamba states read and
    written; keys and values read.
    """
    met = 1 - (1 - config.num_experts_per_tok / config.n_routed_experts) ** batch
    expert = 2 * config.hidden_size * config.moe_intermediate_size * config.n_routed_experts
    experts = expert * len(config.layer_indices(MOE))
    total = config.count_parameters().total
    others = total - experts - config.vocab_size * config.hidden_size  # of the lookup table only rows are read
    weights = BF16 * (others + met * experts)
    return weights + batch * (2 * counting.state_bytes(config) + length * counting.kv_bytes_per_token(config))


def _train_s(recipe: Recipe, config: HybridConfig, layout: Layout, assumed: Assumptions, chip: Gpu) -> float:
    """Forward 2, backward 4, recomputed layers 2 more; minibatches after the first score their samples once more. A
    replica trains whole samples: the one with the most of them is waited for."""
    active = config.count_parameters().active
    length = assumed.mean_prompt + assumed.mean_output
    width = config.num_attention_heads * config.head_dim
    attention = len(config.layer_indices(ATTENTION)) * 2 * width * length / 2  # two products, half of them causal
    passes = 3 + (1 if recipe.layout.recompute else 0) + (1 - 1 / recipe.grpo.minibatches)
    samples = math.ceil(recipe.grpo.prompts_per_step * recipe.grpo.group_size / layout.dp)
    flops = 2 * (active + attention) * passes * samples * length
    return flops / (layout.tp * layout.cp * chip.flops * assumed.mfu)
