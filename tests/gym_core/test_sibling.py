"""A copy of a process is a child of its parent: whole, awaited and killed by who asked for it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from gym_core import sibling

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(not sibling.can_fork_sibling(), reason="siblings are forked on Linux with glibc")


def _run(program: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, cwd=ROOT, text=True
    )


def test_the_copy_outlives_its_maker_and_is_ours_to_wait_for() -> None:
    maker = _run("""
        import os, sys
        from gym_core.sibling import fork_sibling
        parent = os.getppid()
        pid = fork_sibling()
        if pid == 0:
            os._exit(7 if os.getppid() == parent else 8)
        print(pid, flush=True)
    """)
    out, _ = maker.communicate(timeout=30)
    pid, status = os.waitpid(int(out), 0)
    assert (pid, os.waitstatus_to_exitcode(status)) == (int(out), 7)


def test_a_copy_is_a_whole_process() -> None:
    """Threads, its own ids and children, hooks of `os.register_at_fork`, numbers of its own."""
    maker = _run("""
        import os, random, signal, subprocess, sys, threading
        from gym_core.sibling import fork_sibling
        called = []
        os.register_at_fork(after_in_child=lambda: called.append("child"))
        os.register_at_fork(after_in_parent=lambda: called.append("parent"))
        random.seed(1)
        pid = fork_sibling()
        if pid == 0:
            thread = threading.Thread(target=lambda: called.append("thread"))
            thread.start()
            thread.join()
            assert called == ["child", "thread"], called
            assert os.getpid() == threading.get_native_id()
            assert subprocess.run(["true"]).returncode == 0
            assert random.random() != random.Random(1).random()
            signal.raise_signal(signal.SIGTERM)
        assert called == ["parent"], called
        print(pid, flush=True)
    """)
    out, _ = maker.communicate(timeout=30)
    _, status = os.waitpid(int(out), 0)
    assert os.waitstatus_to_exitcode(status) == -15


def test_elsewhere_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "vax")
    assert not sibling.can_fork_sibling()
    with pytest.raises(OSError, match="forks no siblings"):
        sibling.fork_sibling()
