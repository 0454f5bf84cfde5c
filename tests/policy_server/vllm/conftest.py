"""What the tests of vLLM share: a hybrid with weights to tell apart, and one real server for the whole session."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec
import pytest
import torch

from gym_core.errors import BadRequest
from model.checkpoint import save_pretrained
from model.config import HybridConfig
from model.stack import HybridModel
from model.tokenizer import Tokenizer
from policy_server.config import PolicyConfig
from policy_server.launch import open_backend
from policy_server.requests import Backend
from policy_server.vllm.backend import VllmBackend
from policy_server.vllm.launch import open_vllm
from policy_server.vllm.process import VllmProcess
from policy_server.vllm.recipe import command, environment, interpreter

MAX_LENGTH = 512


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if {"vllm_process", "vllm_backend"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.vllm)


def make_distinct(vocab_size: int, seed: int) -> HybridModel:
    """A tiny hybrid whose logits are not flat, so that wrong weights show."""
    model = HybridModel(HybridConfig.tiny(vocab_size), seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if tensor.ndim >= 2 and "conv" not in name:
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.12)
            elif "correction" in name:
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)
    return model.eval()


@pytest.fixture(scope="session")
def distinct() -> Callable[[int, int], HybridModel]:
    """distinct(vocab_size, seed): tiny hybrids of one shape."""
    return make_distinct


@pytest.fixture(scope="session")
def checkpoint_folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> Path:
    """A saved hybrid with its tokenizer."""
    folder = tmp_path_factory.mktemp("vllm") / "first"
    save_pretrained(make_distinct(tokenizer.vocab_size, 1), folder, also=tokenizer.save)
    return folder


@pytest.fixture(scope="session")
def vllm_config(checkpoint_folder: Path) -> PolicyConfig:
    return PolicyConfig(
        backend="vllm",
        checkpoint=str(checkpoint_folder),
        max_length=MAX_LENGTH,
        num_slots=32,
        vllm_args="--worker-extension-cls planted.Planted",
    )


@pytest.fixture(scope="session")
def vllm_process(vllm_config: PolicyConfig) -> Iterator[VllmProcess]:
    """The one real server of this session; skips where vLLM is not installed."""
    try:
        python = interpreter(vllm_config)
    except BadRequest as error:
        pytest.skip(str(error))
    given = environment(vllm_config, os.environ) | {"PYTHONPATH": str(Path(__file__).parent)}
    process = VllmProcess(partial(command, vllm_config, python), given).start()
    yield process
    process.stop()


@pytest.fixture
async def embedded_backend(vllm_config: PolicyConfig) -> AsyncIterator[Backend]:
    """The embedded engine over the same checkpoint."""
    settings = msgspec.structs.replace(vllm_config, backend="embedded", num_prefixes=8)
    backend, _ = open_backend(settings)
    yield backend
    await backend.close()


@pytest.fixture
async def vllm_backend(
    vllm_process: VllmProcess, vllm_config: PolicyConfig, tokenizer: Tokenizer
) -> AsyncIterator[VllmBackend]:
    """A backend of this test's event loop, in front of the session's server."""
    attached = msgspec.structs.replace(vllm_config, vllm_url=vllm_process.url)
    backend = open_vllm(attached, tokenizer)
    yield backend
    await backend.close()
