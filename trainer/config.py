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
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from gym_core.errors import BadRequest
from gym_core.nearest import hint
from trainer.presets import PRESETS
from trainer.recipe_errors import refusal
from trainer.recipe_parts import (
    EnvironmentMix,
    EvalRecipe,
    GrpoRecipe,
    LengthRecipe,
    ObjectiveRecipe,
    OverlapRecipe,
    SftRecipe,
    require_positive,
)
from trainer.scale import LayoutRecipe, PolicyRecipe

__all__ = [
    "EnvironmentMix",
    "EvalRecipe",
    "GrpoRecipe",
    "LayoutRecipe",
    "LengthRecipe",
    "ObjectiveRecipe",
    "OverlapRecipe",
    "PolicyRecipe",
    "Recipe",
    "SftRecipe",
    "find_recipe",
    "load_recipe",
    "parse_recipe",
]

RECIPES = Path(__file__).parent / "recipes"
_NAME = re.compile(r"(?![.\s])[^/\\\x00-\x1f\x7f]{1,100}")
_SEEDS = 1 << 63


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
        _require_finite(msgspec.to_builtins(self))
        require_positive(self, "vocab_size", "keep_checkpoints", "checkpoint_every")
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"`name` becomes a folder's, of 1 to 100 characters without `/`, not {self.name!r}")
        if not 0 <= self.seed < _SEEDS:
            raise ValueError(f"`seed` is a number from 0 to 2^63 - 1, not {self.seed}")
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


def _require_finite(table: Mapping[str, Any], prefix: str = "") -> None:
    """Raises ValueError naming one of TOML's `inf` and `nan`: a run keeps its recipe as JSON, which has neither."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            _require_finite(value, f"{prefix}{key}.")
        elif isinstance(value, float) and not math.isfinite(value):
            raise ValueError(
                f"`{prefix}{key}` is {value}; it has to be a finite number, a large one where none is meant"
            )


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
        found = refusal(error, Recipe, data)
        raise BadRequest(f"{source}: {found.message}", field=found.field, hint=found.hint) from None


def _with_presets(given: dict[str, Any], source: str) -> dict[str, Any]:
    """What the named presets say, then what the recipe says itself."""
    names = given.get("preset", [])
    merged: dict[str, Any] = {}
    for name in names if isinstance(names, list) else [names]:
        if not isinstance(name, str) or name not in PRESETS:
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
