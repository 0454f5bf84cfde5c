"""Builders for played groups: everything a test of the trainer needs without a server."""

from __future__ import annotations

import resource
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from aiohttp import web
from torch import nn

from gym_core.client import Client
from gym_core.contracts import Outcome, Rollout, Verdict
from gym_core.serve import start
from gym_core.tokens import NO_VERSION, TokenTrace
from trainer.config import GrpoRecipe, ObjectiveRecipe
from trainer.learner import Learner
from trainer.pack import Sample
from trainer.played import Played, PlayedGroup

sys.path.insert(0, str(Path(__file__).parent))

Reward = float | None


def make_trace(num_prompt: int = 3, num_sampled: int = 2, version: int = 1) -> TokenTrace:
    n = num_prompt + num_sampled
    mask = np.arange(n) >= num_prompt
    return TokenTrace(
        np.arange(n, dtype=np.int32) + 1,
        np.where(mask, -0.5, 0.0).astype(np.float32),
        mask,
        np.where(mask, version, NO_VERSION).astype(np.int32),
    )


def make_member(reward: Reward, outcome: Outcome = Outcome.SCORED, repeat: int = 0, **fields: object) -> Played:
    rollout = Rollout(
        rollout_id=f"r{repeat}",
        environment="maths",
        task_id="t",
        outcome=outcome,
        repeat=repeat,
        verdict=None if reward is None else Verdict(reward=reward),
        policy_version_min=1,
        policy_version_max=1,
        **fields,  # type: ignore[arg-type]
    )
    return Played(rollout, [make_trace()])


@pytest.fixture
def trace() -> Callable[..., TokenTrace]:
    return make_trace


@pytest.fixture
def member() -> Callable[..., Played]:
    return make_member


@pytest.fixture
def group() -> Callable[..., PlayedGroup]:
    """A group from rewards; None stands for a rollout that failed in its environment."""

    def build(rewards: Sequence[Reward], task_id: str = "t", environment: str = "maths") -> PlayedGroup:
        members = [
            make_member(reward, Outcome.ENV_ERROR if reward is None else Outcome.SCORED, repeat)
            for repeat, reward in enumerate(rewards)
        ]
        return PlayedGroup(f"g-{task_id}", task_id, environment, members)

    return build


@pytest.fixture
def small_files() -> Callable[[int], AbstractContextManager[None]]:
    """A disk that is full: inside, no file of this process grows past so many bytes."""

    @contextmanager
    def limit(num_bytes: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limit


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., Awaitable[Client]]]:
    """Serve an app on loopback and give a client of it; both end with the test."""
    opened: list[Any] = []

    async def open_app(app: web.Application, **options: Any) -> Client:
        served = await start(app)
        client = Client(served.url, **{"retries": 0, "timeout_s": 10.0, **options})
        opened.extend((client, served))
        return client

    yield open_app
    for thing in opened:
        await thing.close()


class FakeModel(nn.Module):
    """A policy small enough to follow: causal mean over the sequence, four experts that scale, a router, a head."""

    def __init__(self, vocab_size: int = 12, width: int = 6, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)

        def parameter(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype) * 0.5)

        self.embeddings = parameter(vocab_size, width)
        self.mix = parameter(width, width)
        self.lm_head = parameter(vocab_size, width)
        self.mixture = nn.Module()
        self.mixture.experts = parameter(4, width)
        self.mixture.gate = nn.Module()
        self.mixture.gate.weight = parameter(4, width)
        self.mixture.gate.register_buffer("bias", torch.zeros(4))
        self.mixture.register_buffer("expert_counts", torch.zeros(4), persistent=False)

    def forward(self, token_ids: torch.Tensor, cu_seqlens: torch.Tensor) -> torch.Tensor:
        x = self.embeddings[token_ids]
        means = []
        for a, b in zip(cu_seqlens[:-1].tolist(), cu_seqlens[1:].tolist(), strict=True):
            means.append(x[a:b].cumsum(0) / torch.arange(1, b - a + 1, dtype=x.dtype)[:, None])
        h = torch.tanh(x + torch.cat(means) @ self.mix)
        scores = torch.sigmoid(h @ self.mixture.gate.weight.T)
        chosen = (scores.detach() + self.mixture.gate.bias.to(scores.dtype)).argmax(-1)
        if torch.is_grad_enabled() and self.training:
            self.mixture.expert_counts += torch.bincount(chosen, minlength=4)
        return h + scores.gather(1, chosen[:, None]) * self.mixture.experts[chosen]

    def token_logprobs(self, hidden: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        log_probs = (hidden @ self.lm_head.T).log_softmax(-1)
        return log_probs.gather(1, targets[:, None])[:, 0], -(log_probs.exp() * log_probs).sum(-1)

    def moe_layers(self) -> Iterator[nn.Module]:
        yield self.mixture

    def freeze_router(self) -> None:
        self.mixture.gate.weight.requires_grad_(False)

    def update_expert_bias(self, rate: float) -> None:
        counts = self.mixture.expert_counts
        self.mixture.gate.bias += rate * torch.sign(counts.mean() - counts)
        counts.zero_()


@pytest.fixture
def fake_model() -> Callable[..., FakeModel]:
    return FakeModel


@pytest.fixture
def make_samples() -> Callable[..., list[Sample]]:
    """Random samples of varied length; their log-probabilities are those of `model`, plus `shift` where trained."""

    def build(
        model: nn.Module, count: int = 9, vocab_size: int = 12, shift: float = 0.0, seed: int = 0
    ) -> list[Sample]:
        random = np.random.default_rng(seed)
        samples = []
        for i in range(count):
            n = int(random.integers(4, 12))
            mask = np.arange(n) >= int(random.integers(1, n - 1))
            ids = random.integers(0, vocab_size, n).astype(np.int32)
            samples.append(Sample(ids, mask, np.zeros(n, np.float32), float(i % 4 - 1.5)))
        scores = Learner(model, GrpoRecipe(), ObjectiveRecipe()).score([s.token_ids.tolist() for s in samples])
        for sample, score in zip(samples, scores, strict=True):
            sample.logprobs = np.where(sample.loss_mask, score + shift, 0.0)
        return samples

    return build
