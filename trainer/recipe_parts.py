"""The tables of a recipe, each a frozen record that refuses what cannot be meant; `trainer/config.py` reads them."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from trainer.advantage import Baseline, Scale

Ratio = Literal["token", "sequence"]
Clip = Literal["ppo", "weight"]
Aggregate = Literal["token", "sequence", "constant"]
Unit = Literal["token", "sequence_mean", "sequence_geometric", "sequence_error"]
Action = Literal["off", "truncate", "mask", "reject"]


def require_positive(record: msgspec.Struct, *names: str) -> None:
    """Raises ValueError naming the first that is not."""
    for name in names:
        if not 0 < getattr(record, name) < math.inf:
            raise ValueError(f"`{name}` must be positive, not {getattr(record, name)}")


def require_not_negative(record: msgspec.Struct, *names: str) -> None:
    """As `require_positive`, with 0."""
    for name in names:
        if not 0 <= getattr(record, name) < math.inf:
            raise ValueError(f"`{name}` is 0 or more, not {getattr(record, name)}")


class EnvironmentMix(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One environment's share: `level` of its generator, `weight` in every batch, `tasks` in the training pool.

    `demonstrations` of it are in the warm start, so many flawless ones and as many of the fallible demonstrator's.
    """

    level: int = 0
    weight: float = 1.0
    tasks: int = 128
    demonstrations: int = 800

    def __post_init__(self) -> None:
        require_positive(self, "weight", "tasks", "demonstrations")


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
        require_positive(self, "batch", "lr", "control_cpu_seconds")
        require_not_negative(self, "lessons", "steps", "warmup", "aux_loss_coef")
        if not 0.0 <= self.error_rate < 1.0:
            raise ValueError(f"`error_rate` is a share in [0, 1), not {self.error_rate}")


class GrpoRecipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Reinforcement. Defaults are the settings measured to learn on two CPU cores.

    `minibatches`: optimizer steps on a batch; with one, the default, every token is on policy and its ratio exactly 1.
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
    minibatches: int = 1
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
        require_positive(self, "prompts_per_step", "group_size", "minibatches", "lr", "grad_clip", "temperature")
        require_positive(self, "max_output_tokens", "tokens_per_microbatch", "curriculum_sigma")
        require_not_negative(self, "steps", "warmup", "expert_bias_rate")
        require_not_negative(self, "profile_repeats", "plateau_patience", "plateau_margin")
        if not (0.0 <= self.curriculum_start <= 1.0 and 0.0 <= self.curriculum_end <= 1.0):
            given = f"{self.curriculum_start}, {self.curriculum_end}"
            raise ValueError(f"`curriculum_start` and `curriculum_end` are pass rates, in [0, 1], not {given}")
        if self.curriculum_sigma < 1e-3:
            raise ValueError(f"`curriculum_sigma` is 0.001 or more, not {self.curriculum_sigma}")
        if not self.mismatch_gate >= 1.0:
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
        if self.sequence_error_max and self.sequence_error_max < 1.0:
            raise ValueError(
                "`sequence_error_max` bounds a mean of exp|d|, which is never under 1 (0 drops nothing), not "
                f"{self.sequence_error_max}"
            )
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
        require_positive(self, "tasks", "validation_tasks", "samples")
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
        if not self.gate >= 1.0:
            raise ValueError(f"`gate` bounds a mean of exp|d|, which is never under 1, not {self.gate}")
