"""The page on parallelism: its example runs, its table is what the code computes."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from model.parallel.memory import table

Play = Callable[..., list[dict[str, Any]]]
PAGE = Path(__file__).resolve().parents[3] / "docs" / "parallelism.md"


def test_the_example_runs_on_two_processes(play: Play, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert play(2, "documented", port, code, str(tmp_path)) == [{"saved": True}] * 2


def test_the_table_is_what_the_code_computes() -> None:
    assert table(49152) in PAGE.read_text()
