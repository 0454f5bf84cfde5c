"""A whole gym on loopback, and the example scripts as modules."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import ModuleType

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "agent_server"))
sys.path.insert(0, str(Path(__file__).parent.parent / "conformance"))

from whole_gym import Gym, KnowingPolicy, open_gym

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@pytest.fixture
async def gym(tmp_path: Path) -> AsyncIterator[tuple[Gym, KnowingPolicy]]:
    async with AsyncExitStack() as stack:
        yield await open_gym(stack, tmp_path)


@pytest.fixture
def example() -> Callable[[str], ModuleType]:
    return _load


def _load(path: str) -> ModuleType:
    """`examples/PATH` as a module of a name of its own."""
    name = "example_" + path.removesuffix(".py").replace("/", "_")
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
