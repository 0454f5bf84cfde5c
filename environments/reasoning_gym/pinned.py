"""A child process with a pinned hash seed, in which the package makes its items and grades answers.

    source ─▶ one JSON line ─▶ child (`inside.py`) ─▶ one JSON line ─▶ value | Raised | Overran

Some generators walk over sets, so their items depend on the interpreter's hash seed, which only a new process can set.
The child is also where a grader may hang: it is killed at the deadline and started again for the next question.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import selectors
import subprocess
import sys
import threading
import time
from typing import Any

START_S = 40.0
MAKE_S = 20.0
GRADE_S = 6.0
HASH_SEED = "0"

GRADERS = ("strict", "published")
MAX_HOPELESS = 1024
"""Answers that a grader did not survive; they are not given to one again."""

_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    " from environments.reasoning_gym.inside import main; main(int(sys.argv[2]))"
)


class Raised(Exception):
    """The package raised; the text says what."""


class Overran(Exception):
    """No answer within the limit, or the child died of the question (memory, recursion in C)."""


class Pinned:
    """The child, as the environment sees it. One question at a time; started when it is first needed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = b""
        self._hopeless: set[str] = set()
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the child and wait until it has imported the package. Raises `RuntimeError` where it cannot."""
        with self._lock:
            self._started()

    def ask(self, method: str, *args: Any, limit_s: float) -> Any:
        """A function of `inside.py` with JSON arguments. Raises `Raised`, `Overran`."""
        key = json.dumps(args)
        with self._lock:
            if key in self._hopeless:
                raise Overran("it did not end before")
            process = self._started()
            assert process.stdin is not None
            try:
                process.stdin.write(json.dumps([method, args]).encode() + b"\n")
                process.stdin.flush()
                said = self._line(process, limit_s)
            except (OSError, Overran) as error:
                self._stop()
                if method in GRADERS and len(self._hopeless) < MAX_HOPELESS:
                    self._hopeless.add(key)
                raise Overran(str(error) or type(error).__name__) from None
        if "raised" in said:
            raise Raised(said["raised"])
        return said["value"]

    def stop(self) -> None:
        """Kill the child; the next question starts another."""
        with self._lock:
            self._stop()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._stop()
        paths = json.dumps([os.path.abspath(path) for path in sys.path])
        self._process = process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, paths, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={**os.environ, "PYTHONHASHSEED": HASH_SEED},
        )
        try:
            self._line(process, START_S)
        except Overran as error:
            self._stop()
            raise RuntimeError(f"the process of the reasoning-gym package did not start: {error}") from None
        return process

    def _line(self, process: subprocess.Popen[bytes], limit_s: float) -> dict[str, Any]:
        assert process.stdout is not None
        end = time.monotonic() + limit_s
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if not selector.select(max(0.0, end - time.monotonic())):
                    raise Overran(f"no answer within {limit_s:g} s")
                chunk = os.read(process.stdout.fileno(), 1 << 20)
                if not chunk:
                    raise Overran("the process died")
                self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        said: dict[str, Any] = json.loads(line)
        return said

    def _stop(self) -> None:
        process, self._process, self._buffer = self._process, None, b""
        if process is not None:
            process.kill()
            process.communicate()


@functools.cache
def pinned() -> Pinned:
    """The one child of this process."""
    child = Pinned()
    atexit.register(child.stop)
    return child
