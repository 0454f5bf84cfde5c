"""One recipe is one run: a flat TOML file read into frozen records; nothing inherits, unknown keys are errors.

[environments.maths]      which tasks, in which proportion
[sft]                     warm start
[grpo]                    reinforcement
[objective]               what it optimises: a preset by name, or its parts
[overlap]                 sampling the next step while this one trains
[length]                  group relative length control
[eval]                    held-out tasks
[model]                   overrides of the `base` shape
[layout]                  the learner over many processes
[policy]                  who samples
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from gym_core.errors import BadRequest
from gym_core.nearest import hint
from trainer.advantage import Baseline, Scale
from trainer.presets import PRESETS
from trainer.scale import LayoutRecipe, PolicyRecipe

Ratio = Literal["token", "sequence"]
Clip = Literal["ppo", "weight"]
Aggregate = Literal["token", "sequence", "constant"]
Unit = Literal["token", "sequence_mean", "sequence_geometric", "sequence_error"]
Action = Literal["off", "truncate", "mask", "reject"]

RECIPES = Path(__file__).parent / "recipes"


def _positive(record: msgspec.Struct, *names: str) -> None:
    for name in names:
        if not getattr(record, name) > 0:
            raise ValueError(f"`{name}` must be positive, not {getattr(record, name)}")


class EnvironmentMix(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One environment's share: `level` of its generator, `weight` in every batch, `tasks` in the training pool.

    `demonstrations` of it are in the warm start, so many flawless ones and as many of the fallible demonstrator's.
    """

    level: int = 0
    weight: float = 1.0
    tasks: int = 128
    demonstrations: int = 800

    def __post_init__(self) -> None:
        _positive(self, "weight", "tasks", "demonstrations")


class SftRecipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Warm start: `lessons` steps on flawless demonstrations teach skills, then `steps` on a demonstrator that errs.

    `error_rate` is the stated share of its demonstrations that are wrong; a policy that imitates it errs about as
    often. `control_cpu_seconds` is what the `sft` arm spends on more of the same where no finished GRPO run of the
    same seed says what that cost. `aux_loss_coef` weighs the sequence-wise balancing loss of the experts (the published
    model took 1e-4; reinforcement has none).
    """

    lessons: int = 0
    steps: int = 200
    batch: int = 40
    lr: float = 0.02
    warmup: int = 20
    error_rate: float = 0.4
    control_cpu_seconds: float = 120.0
    aux_loss_coef: float = 0.0

    def __post_init__(self) -> None:
        _positive(self, "batch", "lr", "control_cpu_seconds")
        if not 0.0 <= self.aux_loss_coef < float("inf"):
            raise ValueError(f"`aux_loss_coef` must be a number from 0, not {self.aux_loss_coef}")
        if not 0.0 <= self.error_rate < 1.0:
            raise ValueError(f"`error_rate` is a share in [0, 1), not {self.error_rate}")


class GrpoRecipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Reinforcement. Defaults are the settings measured to learn on two CPU cores.

    `mismatch_gate`: the largest `token_mult_prob_error` that may train. `routing_replay`: the policy records which
    experts it sent each token to, and the learner takes those (2510.11370).
    `curriculum_start`, `_end`, `_sigma`: the Gaussian over pass rate; its mean goes from start to end. `curriculum` may
    be `random` instead, which draws without looking at pass rates.
    `profile_repeats`: tries per task to profile the pools before the first step, 0 for none. `profiles`: a file that
    `palaestra profile` wrote, to begin with instead.
    `plateau_patience`: after so many validations in a row that are not better than the best by `plateau_margin`, the
    pools are profiled again with the best checkpoint; 0 for never.
    """

    steps: int = 60
    prompts_per_step: int = 20
    group_size: int = 8
    minibatches: int = 2
    lr: float = 1e-3
    warmup: int = 0
    grad_clip: float = 1.0
    mismatch_gate: float = 1.001
    expert_bias_rate: float = 1e-3
    routing_replay: bool = False
    temperature: float = 1.0
    max_output_tokens: int = 64
    tokens_per_microbatch: int = 16384
    curriculum: Literal["gaussian", "random"] = "gaussian"
    curriculum_start: float = 0.6
    curriculum_end: float = 0.4
    curriculum_sigma: float = 0.25
    profile_repeats: int = 0
    profiles: str = ""
    plateau_patience: int = 0
    plateau_margin: float = 0.01

    def __post_init__(self) -> None:
        _positive(self, "prompts_per_step", "group_size", "minibatches", "lr", "grad_clip", "temperature")
        _positive(self, "max_output_tokens", "tokens_per_microbatch", "curriculum_sigma")
        if min(self.profile_repeats, self.plateau_patience, self.plateau_margin) < 0:
            raise ValueError("`profile_repeats`, `plateau_patience` and `plateau_margin` are 0 or more")
        if self.mismatch_gate < 1.0:
            raise ValueError(
                f"`mismatch_gate` bounds a mean of exp|d|, which is never under 1, not {self.mismatch_gate}"
            )


class ObjectiveRecipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is optimised; formulas in `trainer/objective.py`, `advantage.py` and `mismatch.py`, names in `presets.py`.

    `clip_low`, `clip_high`: the ratio stays in [1 - low, 1 + high]; `dual_clip` bounds the loss of a bad token whose
    ratio grew. `constant`: the length that `aggregate = "constant"` divides by, 0 for `grpo.max_output_tokens`.
    `normalise_over`: whether rollouts without an advantage (all siblings earned the same) count in the normaliser.
    `kl_coef`: weight of the k3 anchor to the policy that reinforcement began with, 0 for none. `mask_truncated`:
    truncated rollouts count in the baseline but are not trained on (overlong filtering). `importance*`: what is done
    where sampler and trainer disagree; `sequence_error_max` drops sequences, 0 for none.
    """

    preset: str | list[str] = []
    ratio: Ratio = "token"
    clip: Clip = "ppo"
    clip_low: float = 0.2
    clip_high: float = 0.28
    dual_clip: float = 0.0
    aggregate: Aggregate = "token"
    constant: int = 0
    normalise_over: Literal["used", "all"] = "used"
    kl_coef: float = 0.0
    baseline: Baseline = "group"
    scale: Scale = "std"
    mask_truncated: bool = False
    importance: Action = "mask"
    importance_unit: Unit = "token"
    importance_low: float = 0.2
    importance_high: float = 5.0
    sequence_error_max: float = 0.0

    def __post_init__(self) -> None:
        if not (0.0 <= self.clip_low <= 1.0 and self.clip_high >= 0.0):
            raise ValueError(f"`clip_low` is in [0, 1] and `clip_high` >= 0, not {self.clip_low}, {self.clip_high}")
        if self.dual_clip and self.dual_clip <= 1.0 + self.clip_high:
            raise ValueError(f"`dual_clip` must be over 1 + `clip_high` to differ from it, not {self.dual_clip}")
        if not (self.kl_coef >= 0.0 and self.constant >= 0):
            raise ValueError(f"`kl_coef` and `constant` are 0 or more, not {self.kl_coef}, {self.constant}")
        if not 0.0 <= self.importance_low < self.importance_high < math.inf:
            bounds = f"{self.importance_low}, {self.importance_high}"
            raise ValueError(f"0 <= `importance_low` < `importance_high`, both finite, not {bounds}")
        if self.importance_unit == "sequence_error" and self.importance in ("truncate", "mask"):
            raise ValueError('`sequence_error` is no weight: `importance` can only be "reject" or "off" with it')


class LengthRecipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Group relative length control (`trainer/length.py`); with every coefficient 0 the rewards stay as they are.

    `think`, `answer`: λ of the two spans. `think_bonus`, `answer_bonus`: β for the shortest where its reward is among
    the best `top_share` of its group. `sign_safe`: shorten only what is good already, and turn no advantage's sign.
    """

    think: float = 0.0
    answer: float = 0.0
    think_bonus: float = 0.0
    answer_bonus: float = 0.0
    top_share: float = 0.2
    sign_safe: bool = False

    def __post_init__(self) -> None:
        if min(self.think, self.answer, self.think_bonus, self.answer_bonus) < 0.0:
            raise ValueError("the coefficients of `length` are 0 or more: a negative one would pay for length")
        if not 0.0 < self.top_share <= 1.0:
            raise ValueError(f"`top_share` is in (0, 1], not {self.top_share}")


class EvalRecipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Held-out evaluation: `tasks` per environment, from a split that neither SFT nor RL draws from.

    `every`: validate after so many steps too, 0 for never: the first `validation_tasks` of each environment, `samples`
    tries of each, for pass@k.
    """

    tasks: int = 256
    temperature: float = 1.0
    every: int = 0
    validation_tasks: int = 64
    samples: int = 4

    def __post_init__(self) -> None:
        _positive(self, "tasks", "validation_tasks", "samples")
        if self.every < 0:
            raise ValueError(f"`every` is a number of steps, or 0 for never, not {self.every}")


class OverlapRecipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Playing ahead: with `steps` = 1 the next step is sampled while this one trains, 0 for one after the other.

    Some tokens are then one version old; `objective.importance` weighs or masks them. `gate` replaces
    `grpo.mismatch_gate`, which knows no such tokens (1.3 is what NeMo RL's asynchronous recipes are held to).
    """

    steps: int = 0
    gate: float = 1.3

    def __post_init__(self) -> None:
        if self.steps not in (0, 1):
            raise ValueError(f"`overlap.steps` is 0 or 1, not {self.steps}: tokens are one version old at most")
        if self.gate < 1.0:
            raise ValueError(f"`gate` bounds a mean of exp|d|, which is never under 1, not {self.gate}")


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything a run depends on; with its seed it fixes the run.

    `arm`: `grpo`, or a control: `sft` (the same CPU time spent on more warm start), `shuffled` (rewards permuted
    across the batch, so that they say nothing). `base`: the shape that `[model]` overrides. `checkpoint`: a folder to
    start from; with it there is no warm start, and `base`, `[model]` and `vocab_size` are the checkpoint's own.
    `wandb`: a project of Weights & Biases that metrics go to as well. `keep_checkpoints`: the newest so many, and the
    best, stay. `retries`: how often a run goes on by itself after an actor or its node was lost.
    `environment_actors`: Ray actors that serve the environments, spread over the nodes; 0 for one process beside the
    program.
    """

    name: str
    environments: dict[str, EnvironmentMix]
    seed: int = 0
    base: Literal["tiny", "nano"] = "tiny"
    checkpoint: str = ""
    arm: Literal["grpo", "sft", "shuffled"] = "grpo"
    vocab_size: int = 1024
    model: dict[str, Any] = {}
    sft: SftRecipe = SftRecipe()
    grpo: GrpoRecipe = GrpoRecipe()
    objective: ObjectiveRecipe = ObjectiveRecipe()
    overlap: OverlapRecipe = OverlapRecipe()
    length: LengthRecipe = LengthRecipe()
    eval: EvalRecipe = EvalRecipe()
    layout: LayoutRecipe = LayoutRecipe()
    policy: PolicyRecipe = PolicyRecipe()
    wandb: str = ""
    retries: int = 2
    environment_actors: int = 0
    keep_checkpoints: int = 2
    checkpoint_every: int = 10

    def __post_init__(self) -> None:
        _positive(self, "vocab_size", "keep_checkpoints", "checkpoint_every")
        if min(self.retries, self.environment_actors) < 0:
            raise ValueError(
                f"`retries` and `environment_actors` are 0 or more, not {self.retries}, {self.environment_actors}"
            )
        if self.checkpoint and self.arm == "sft":
            raise ValueError("the `sft` arm is more warm start, and a run from a `checkpoint` has none")
        if self.grpo.plateau_patience and not (self.eval.every and self.grpo.profile_repeats):
            raise ValueError(
                "`grpo.plateau_patience` counts validations and profiles again: set `eval.every` and "
                "`grpo.profile_repeats` too"
            )
        if not self.environments:
            raise ValueError("`environments` is empty: a recipe trains on at least one")
        if self.overlap.steps and self.objective.importance == "off":
            raise ValueError('`overlap` needs `objective.importance`: "off" trains stale tokens as if they were new')

    @property
    def learning(self) -> GrpoRecipe:
        """`grpo` as the learner applies it: with overlap its gate is the overlap's."""
        gate = max(self.overlap.gate, self.grpo.mismatch_gate) if self.overlap.steps else self.grpo.mismatch_gate
        return msgspec.structs.replace(self.grpo, mismatch_gate=gate)


def find_recipe(name: str) -> Path:
    """Path of a recipe given by name (`demo`) or by file. Raises BadRequest naming the nearest."""
    path = Path(name)
    if path.suffix == ".toml":
        if not path.is_file():
            raise BadRequest(f"no recipe file at {name}", field="recipe", hint=f"names: {', '.join(_names())}")
        return path
    known = _names()
    if name not in known:
        raise BadRequest(f"no recipe is called `{name}`", field="recipe", hint=hint(name, known))
    return RECIPES / f"{name}.toml"


def _names() -> list[str]:
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def load_recipe(name: str, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe by name or file; `overrides` are dotted keys, such as {"grpo.steps": 20}, and win.

    Raises BadRequest with the field's path, the file, and the nearest right key.
    """
    path = find_recipe(name)
    try:
        data = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"{path.name} is not TOML: {error}", field="recipe") from None
    for key, value in (overrides or {}).items():
        *parents, last = key.split(".")
        table = data
        for parent in parents:
            table = table.setdefault(parent, {})
            if not isinstance(table, dict):
                raise BadRequest(f"`{key}`: `{parent}` is not a table", field=key)
        table[last] = value
    return parse_recipe({"name": path.stem, **data}, path.name)


def parse_recipe(data: dict[str, Any], source: str = "recipe") -> Recipe:
    """A recipe from plain data. Raises BadRequest as `load_recipe` does."""
    _refuse_unknown(data, Recipe, "", source)
    if isinstance(data.get("objective"), dict):
        data = data | {"objective": _with_presets(data["objective"], source)}
    try:
        return msgspec.convert(data, Recipe)
    except msgspec.ValidationError as error:
        text, _, where = str(error).partition(" - at `$")
        raise BadRequest(f"{source}: {text}", field=where.strip("`.")) from None


def _with_presets(given: dict[str, Any], source: str) -> dict[str, Any]:
    """What the named presets say, then what the recipe says itself."""
    names = given.get("preset", [])
    merged: dict[str, Any] = {}
    for name in [names] if isinstance(names, str) else names:
        if name not in PRESETS:
            raise BadRequest(
                f"{source}: no preset is called `{name}`", field="objective.preset", hint=hint(str(name), PRESETS)
            )
        merged |= PRESETS[name]
    return merged | given


def _refuse_unknown(data: Mapping[str, Any], kind: type[msgspec.Struct], prefix: str, source: str) -> None:
    fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
    for key, value in data.items():
        path = f"{prefix}{key}"
        if key not in fields:
            raise BadRequest(f"{source}: unknown key `{path}`", field=path, hint=hint(key, fields))
        if isinstance(value, Mapping) and isinstance(fields[key], type) and issubclass(fields[key], msgspec.Struct):
            _refuse_unknown(value, fields[key], f"{path}.", source)
        elif key == "environments" and isinstance(value, Mapping):
            for name, mix in value.items():
                if isinstance(mix, Mapping):
                    _refuse_unknown(mix, EnvironmentMix, f"{path}.{name}.", source)
