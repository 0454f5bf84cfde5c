"""From a recipe to a learner in one process: the shape it asks for, with fresh weights or those of a folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from gym_core.errors import BadRequest
from gym_core.nearest import hint
from gym_core.seeds import derive
from model.config import HybridConfig
from model.stack import HybridModel
from trainer.config import Recipe
from trainer.held_model import read_model
from trainer.learner import Learner


def build_learner(recipe: Recipe, directory: str | None = None) -> Learner:
    """A learner with fresh weights of the recipe's seed, or with those saved in `directory` (a model's folder).

    Raises BadRequest naming the override of `[model]` that does not fit.
    """
    if directory is not None:
        model = read_model(Path(directory))
    else:
        model = HybridModel(model_config(recipe), seed=derive(recipe.seed, "model"))
    model.recompute(recipe.layout.recompute)
    return Learner(model, recipe.learning, recipe.objective, seed=recipe.seed)


def model_config(recipe: Recipe) -> HybridConfig:
    """The shape that a recipe asks for. Raises BadRequest naming the override of `[model]` that does not fit."""
    known = [field.name for field in dataclasses.fields(HybridConfig)]
    for name in recipe.model:
        if name not in known:
            raise BadRequest(f"unknown key `model.{name}`", field=f"model.{name}", hint=hint(name, known))
    try:
        if recipe.base == "nano":
            return dataclasses.replace(HybridConfig.nano(), **recipe.model)
        return HybridConfig.tiny(recipe.vocab_size, **recipe.model)
    except (ValueError, TypeError) as error:
        raise BadRequest(str(error), field="model") from None
