"""The agent's fake policy, the whole gym and the peers, for tests that look at the edges of the real services."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "agent_server"))
sys.path.insert(0, str(Path(__file__).parent))

from peer_python import peer_python


@pytest.fixture
def peer() -> Callable[[str], Path]:
    """The interpreter of a peer by its name."""
    return peer_python
