"""The two long-lived objects of a training run, made where they will live: here, or inside a Ray actor.

Both import torch, so this module is imported by whoever hosts them and named by whoever starts them.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import msgspec
import torch

from model.weight_memory import machine
from palaestra.hosted import AppHost
from palaestra.policies import READY_S, SERVING, served_app
from policy_server.config import PolicyConfig
from trainer.build import build_learner
from trainer.config import Recipe
from trainer.learner import Learner
from trainer.sharded_learner import ShardedLearner, build_sharded_learner


class _Served(Learner):
    """A learner that saves its model together with the tokenizer and how it wants to be served."""

    def vocab_size(self) -> int:
        return int(self.model.config.vocab_size)

    def save_model(self, directory: str, tokenizer: str) -> None:
        """The model as transformers reads it, with its tokenizer beside it."""

        def also(folder: Path) -> None:
            for path in Path(tokenizer).iterdir():
                shutil.copy(path, folder)
            # Recipes train without thinking, so whoever serves the checkpoint asks for none unless told otherwise.
            (folder / SERVING).write_bytes(msgspec.json.encode({"enable_thinking": False}))

        self.write_model(Path(directory), also)


class PlacedLearner(_Served):
    """In one process."""


class PlacedShardedLearner(_Served, ShardedLearner):
    """One of the processes of a layout."""


def place_learner(recipe: Recipe, vocab_size: int, num_threads: int, directory: str | None = None) -> PlacedLearner:
    """A learner with fresh weights for a tokenizer of this size, or with those of a checkpoint in `directory`."""
    torch.set_num_threads(num_threads)
    made = build_learner(msgspec.structs.replace(recipe, vocab_size=vocab_size), directory)
    return PlacedLearner(made.model, recipe.learning, recipe.objective, seed=recipe.seed)


def place_sharded_learner(recipe: Recipe, num_threads: int, directory: str) -> PlacedShardedLearner:
    """One process's part of a learner with the weights of a checkpoint in `directory`."""
    torch.set_num_threads(num_threads)
    made = build_sharded_learner(recipe, directory)
    return PlacedShardedLearner(made.sharded, recipe.learning, recipe.objective, seed=recipe.seed)


class PolicyHost(AppHost):
    """The policy server. It has as long to read its checkpoint as one that is started by hand."""

    def __init__(self, settings: PolicyConfig, port: int = 0) -> None:
        super().__init__(partial(served_app, settings), port, READY_S)

    def machine(self) -> str:
        """Where shared memory of others can be opened (`weight_memory.machine`)."""
        return machine()
