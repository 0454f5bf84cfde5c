"""The agent's fake policy, for tests that look at the edges of the real services."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "agent_server"))
