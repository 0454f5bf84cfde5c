"""A whole gym on loopback, for clients of its agent server."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "agent_server"))
sys.path.insert(0, str(Path(__file__).parent.parent.parent / "conformance"))

from whole_gym import Gym, KnowingPolicy, open_gym


@pytest.fixture
async def gym(tmp_path: Path) -> AsyncIterator[tuple[Gym, KnowingPolicy]]:
    async with AsyncExitStack() as stack:
        yield await open_gym(stack, tmp_path)
