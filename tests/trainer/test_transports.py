"""Every transport between a real learner and a real engine: what arrives, how it is switched, what is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from gym_core.client import Client
from gym_core.errors import BadRequest, Conflict, DeadlineExceeded
from gym_core.serve import start
from model import checkpoint, weight_layout
from model.config import HybridConfig
from model.stack import HybridModel
from model.tokenizer import Tokenizer
from model.weight_memory import Handle, WeightMemory, open_memory
from policy_server.app import build_app
from policy_server.config import PolicyConfig
from policy_server.engine import Engine
from policy_server.launch import embed
from policy_server.requests import GenerateRequest
from policy_server.weights import WeightsParams, load_weights
from trainer import transports
from trainer.config import GrpoRecipe, ObjectiveRecipe
from trainer.learner import Learner
from trainer.placement import Handle as Placed
from trainer.placement import LocalPlacement
from trainer.publisher import WeightPublisher, probe_rows

CONFIG = HybridConfig.tiny(320)
PROBES = probe_rows(320, count=3, length=20)


class MovedLearner(Learner):
    """A learner whose step moves every parameter and buffer."""

    @torch.no_grad()
    def train(self) -> None:
        for _, tensor in checkpoint.state_tensors(self.model):
            tensor.add_(torch.randn(tensor.shape) * 0.02)


def make_learner(seed: int = 5, dtype: torch.dtype = torch.float32) -> MovedLearner:
    return MovedLearner(HybridModel(CONFIG, seed=seed, dtype=dtype), GrpoRecipe(), ObjectiveRecipe())


@pytest.fixture
async def learner() -> AsyncIterator[Placed]:
    placement = LocalPlacement()
    yield await placement.place(make_learner)
    await placement.close()


@pytest.fixture
def tokenizer() -> Tokenizer:
    return Tokenizer.train(["two and three is five"] * 20, vocab_size=320)


@pytest.fixture
async def engine(tokenizer: Tokenizer) -> AsyncIterator[Engine]:
    settings = PolicyConfig(num_slots=4, num_prefixes=2, max_length=256)
    engine = embed(HybridModel(CONFIG, seed=1), tokenizer, settings).start()
    yield engine
    await engine.close()


@pytest.fixture
async def client(engine: Engine, tokenizer: Tokenizer) -> AsyncIterator[Client]:
    async with await start(build_app(engine, tokenizer)) as served, Client(served.url) as client:
        yield client


def ask(**fields: Any) -> GenerateRequest:
    return GenerateRequest(**{"prompt_token_ids": [40, 41, 42], "max_tokens": 8, "temperature": 0.0, **fields})


@pytest.mark.parametrize("name", transports.NAMES)
async def test_three_versions_in_a_row_are_served_as_the_learner_has_them(
    client: Client, engine: Engine, learner: Placed, name: str
) -> None:
    publisher = WeightPublisher(client, PROBES, transport=transports.make(name))
    for version in (1, 2, 3):
        await learner.call("train")
        metrics = await publisher.publish(learner, version)
        assert metrics["publish/canary_abs_diff_max"] < 1e-4
        assert metrics["publish/canary_decode_abs_diff_max"] < 1e-4
        held = weight_layout.checksums(checkpoint.state_tensors(engine.model))
        assert held == await learner.call("weight_checksums")
        sample = (await engine.generate(ask())).samples[0]
        assert set(sample.versions.tolist()) == {version}
    assert {"write", "switch", "canary"} <= set(publisher.seconds)
    await publisher.close()
