"""The agent's fakes, and what the tests of a broken world share."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "agent_server")]
