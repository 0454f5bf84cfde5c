"""What the tests here share: a tokenizer, a small recurrent model with the hybrid's interface, engines, a client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gym_core.client import Client
from gym_core.serve import start
from model.config import HybridConfig
from model.stack import HybridModel
from model.tokenizer import StreamDecoder, Tokenizer
from policy_server.app import build_app
from policy_server.config import PolicyConfig
from policy_server.engine import Engine
from policy_server.grammar import Grammars
from policy_server.launch import embed

WIDTH = 8


class RecurrentModel(nn.Module):
    """h' = tanh(h W + E[token]), logits = h O: the hybrid's interface over a state that any token changes."""

    def __init__(self, vocab_size: int, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.config = SimpleNamespace(vocab_size=vocab_size)
        self.mix = nn.Parameter(torch.randn(WIDTH, WIDTH, generator=generator) * 0.5)
        self.embed = nn.Parameter(torch.randn(vocab_size, WIDTH, generator=generator))
        self.out = nn.Parameter(torch.randn(WIDTH, vocab_size, generator=generator))
        self.before_decode: Callable[[], None] = lambda: None
        self.num_decodes = 0
        self.prefills: list[list[int]] = []

    def _run(self, state: Tensor, tokens: Tensor) -> list[Tensor]:
        states = []
        for token in tokens.tolist():
            state = torch.tanh(state @ self.mix + self.embed[token])
            states.append(state)
        return states

    def forward(self, token_ids: Tensor, cu_seqlens: Tensor) -> Tensor:
        edges = cu_seqlens.tolist()
        rows = [row for a, b in pairwise(edges) for row in self._run(torch.zeros(WIDTH), token_ids[a:b])]
        return torch.stack(rows)

    def token_logprobs(self, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        logprobs = self.logits(hidden).log_softmax(-1)
        return logprobs.gather(1, targets[:, None]).squeeze(1), -(logprobs.exp() * logprobs).sum(-1)

    def prefill(self, token_ids: Tensor, cu_seqlens: Tensor, cache: RecurrentCache, slots: list[int]) -> Tensor:
        edges = cu_seqlens.tolist()
        self.prefills.append([b - a for a, b in pairwise(edges)])
        for slot, a, b in zip(slots, edges, edges[1:], strict=False):
            cache.state[slot] = self._run(cache.state[slot], token_ids[a:b])[-1]
        return cache.state[slots]

    def logits(self, hidden: Tensor) -> Tensor:
        return hidden @ self.out

    def decode(self, token_ids: Tensor, cache: RecurrentCache, slots: list[int]) -> Tensor:
        self.before_decode()
        self.num_decodes += 1
        cache.state[slots] = torch.tanh(cache.state[slots] @ self.mix + self.embed[token_ids])
        return self.logits(cache.state[slots])


class RecurrentCache:
    """One state row a slot; filled with NaN, so that a slot used before its reset is noticed."""

    def __init__(self, num_slots: int) -> None:
        self.state = torch.full((num_slots, WIDTH), float("nan"))

    def reset(self, slots: list[int]) -> None:
        self.state[slots] = 0.0

    def fork(self, source: int, targets: list[int]) -> None:
        self.state[targets] = self.state[source].clone()


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    texts = ["What is 2 + 3? The answer is 5.", "look up the name of the user, then reply in JSON"] * 20
    return Tokenizer.train(texts, vocab_size=320)


@pytest.fixture
def model(tokenizer: Tokenizer) -> RecurrentModel:
    return RecurrentModel(tokenizer.vocab_size)


MakeEngine = Callable[..., Engine]


@pytest.fixture
async def make_engine(model: RecurrentModel, tokenizer: Tokenizer) -> AsyncIterator[MakeEngine]:
    """Makes running engines over `model`; closes them."""
    made: list[Engine] = []

    def make(**options: Any) -> Engine:
        settings = {"num_slots": 8, "max_length": 128, "stop_ids": tokenizer.stop_ids} | options
        decoder = lambda: StreamDecoder(tokenizer, skip_special=True)  # noqa: E731
        made.append(Engine(model, RecurrentCache, decoder=decoder, grammars=Grammars(tokenizer), **settings).start())
        return made[-1]

    yield make
    for engine in made:
        await engine.close()


@pytest.fixture
async def engine(make_engine: MakeEngine) -> Engine:
    return make_engine(max_length=1024)


@pytest.fixture
def hybrid(tokenizer: Tokenizer) -> HybridModel:
    return HybridModel(HybridConfig.tiny(tokenizer.vocab_size), seed=1)


@pytest.fixture
async def hybrid_engine(hybrid: HybridModel, tokenizer: Tokenizer) -> AsyncIterator[Engine]:
    """An engine over the real model."""
    engine = embed(hybrid, tokenizer, PolicyConfig(num_slots=12, num_prefixes=6, max_length=256)).start()
    yield engine
    await engine.close()


@pytest.fixture
async def hybrid_client(hybrid_engine: Engine, tokenizer: Tokenizer, settings: PolicyConfig) -> AsyncIterator[Client]:
    """A client of a served policy server over `hybrid_engine`."""
    async with await start(build_app(hybrid_engine, tokenizer, settings)) as served, Client(served.url) as client:
        yield client


@pytest.fixture
def settings() -> PolicyConfig:
    return PolicyConfig(max_length=1024, num_slots=8, enable_thinking=False, max_tokens=16)


@pytest.fixture
async def client(engine: Engine, tokenizer: Tokenizer, settings: PolicyConfig) -> AsyncIterator[Client]:
    """A client of a served policy server over `engine`."""
    async with await start(build_app(engine, tokenizer, settings)) as served, Client(served.url) as client:
        yield client


@pytest.fixture
def full_logprobs(model: RecurrentModel) -> Callable[[list[int]], list[float]]:
    """log p of every token after the first, by the full forward."""

    def score(ids: list[int]) -> list[float]:
        tokens = torch.tensor(ids)
        with torch.no_grad():
            hidden = model.forward(tokens, torch.tensor([0, len(ids)]))
            return model.token_logprobs(hidden[:-1], tokens[1:])[0].tolist()

    return score


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
