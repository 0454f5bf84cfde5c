"""The agent's fake policy and the whole gym, for tests that look at the edges of the real services; and the peers."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "agent_server"))
sys.path.insert(0, str(HERE))


def peers_script() -> Any:
    spec = importlib.util.spec_from_file_location("peers", ROOT / "scripts" / "peers.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["peers"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def peer() -> Callable[[str], Path]:
    """The interpreter of a foreign package's own environment; the test is skipped where that was not made."""
    script = peers_script()

    def find(name: str) -> Path:
        if not script.made(name):
            pytest.skip(f"the peer {name} was not made: python scripts/peers.py {name}")
        return Path(script.folder() / name / "bin" / "python")

    return find
