"""What a class leaves outside its memory while it loads keeps it from being copied."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

LEFT = {
    "nothing": ("import sqlite3, decimal; open(__import__('os').devnull, 'w').close(); kept = {'a': 1}", ""),
    "a file that is read and closed": ("open(sys.executable, 'rb').read(1)", ""),
    "a file that is open": ("kept = open(sys.executable, 'rb')", "it keeps .* open"),
    "a file that was written": ("open(place + '/scratch', 'w').close()", "it has written .*scratch"),
    "a folder": ("import tempfile; tempfile.mkdtemp(dir=place)", "it has written"),
    "a socket": ("import socket; kept = socket.socketpair()", "it keeps socket.* open"),
    "a thread": (
        "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()",
        "it has started a thread",
    ),
    "a process": (
        "import subprocess; kept = subprocess.Popen(['sleep', '60'], stdin=subprocess.DEVNULL)",
        "it has started a process",
    ),
    "a process that has ended": ("import subprocess; subprocess.run(['true'])", ""),
    "a file that was written once jobs are done": ("outside.stop(); open(place + '/scratch', 'w').close()", ""),
}


@pytest.mark.parametrize("left", LEFT)
def test_what_is_left_outside_is_named(left: str, tmp_path: Path) -> None:
    code, said = LEFT[left]
    program = f"""
        import re, sys
        from gym_core.shareable import Outside
        place = {str(tmp_path)!r}
        outside = Outside()
        {code}
        obstacle = outside.obstacle(set())
        if "kept" in globals() and hasattr(kept, "kill"):
            kept.kill()
        print(obstacle)
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True, text=True, timeout=60, cwd=ROOT, stdin=subprocess.DEVNULL, check=True,
    )  # fmt: skip
    obstacle = ran.stdout.strip()
    assert bool(obstacle) == bool(said), obstacle
    if said:
        assert re.search(said, obstacle), obstacle
