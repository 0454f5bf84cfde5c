"""The two long-lived objects of a training run, made where they will live: here, or inside a Ray actor.

Both import torch, so this module is imported by whoever hosts them and named by whoever starts them.
"""

from __future__ import annotations

import asyncio
import shutil
import threading
from pathlib import Path
from typing import Any

import msgspec
import torch

from gym_core.errors import Unavailable
from gym_core.serve import Served, start
from palaestra.policies import SERVING, served_app
from policy_server.config import PolicyConfig
from trainer.config import Recipe
from trainer.learner import Learner, build_learner
from trainer.sharded_learner import ShardedLearner, build_sharded_learner

START_TIMEOUT_S = 60.0


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
    return PlacedLearner(made.model, recipe.grpo, recipe.objective, seed=recipe.seed)


def place_sharded_learner(recipe: Recipe, num_threads: int, directory: str) -> PlacedShardedLearner:
    """One process's part of a learner with the weights of a checkpoint in `directory`."""
    torch.set_num_threads(num_threads)
    made = build_sharded_learner(recipe, directory)
    return PlacedShardedLearner(made.sharded, recipe.grpo, recipe.objective, seed=recipe.seed)


class PolicyHost:
    """The policy server on an event loop of its own, in a thread: usable from an actor and from a test."""

    def __init__(self, settings: PolicyConfig, port: int = 0) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="policy-host", daemon=True)
        self._thread.start()
        self._served: Served = self._run(self._start(settings, port), START_TIMEOUT_S)

    @staticmethod
    async def _start(settings: PolicyConfig, port: int) -> Served:
        return await start(served_app(settings), port=port)

    def _run(self, work: Any, timeout_s: float) -> Any:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout_s)
        except TimeoutError:
            future.cancel()
            raise Unavailable(f"the policy server was not ready after {timeout_s:.0f} s", stage="start") from None

    def url(self) -> str:
        return self._served.url

    def close(self) -> None:
        self._run(self._served.close(), START_TIMEOUT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
