"""The interpreter of a foreign package's own environment, as `scripts/peers.py` made it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent.parent / "scripts" / "peers.py"


def peer_python(name: str) -> Path:
    """Skips the test where that environment was not made."""
    spec = importlib.util.spec_from_file_location("peers_script", SCRIPT)
    assert spec is not None and spec.loader is not None
    script = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    if not script.made(name):
        pytest.skip(f"the peer {name} was not made: python scripts/peers.py {name}")
    return Path(script.folder() / name / "bin" / "python")
