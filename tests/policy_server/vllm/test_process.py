"""The child process: its start, its end, its death, and what callers are told; a small server stands in for vLLM."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence

import pytest

from gym_core.errors import DeadlineExceeded, Unavailable
from policy_server.vllm.process import VllmProcess

SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def runs(program: str) -> Callable[[int], Sequence[str]]:
    return lambda port: [sys.executable, "-c", program, str(port)]


def test_it_starts_answers_and_ends() -> None:
    process = VllmProcess(runs(SERVER), os.environ).start()
    process.require_ready()
    pid = process.pid
    assert pid is not None
    process.stop()
    process.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_server_that_cannot_start_says_why() -> None:
    process = VllmProcess(runs("raise SystemExit('RuntimeError: no such model')"), os.environ)
    with pytest.raises(Unavailable, match="no such model"):
        process.start()


def test_a_server_that_never_answers_is_given_up() -> None:
    process = VllmProcess(runs("import threading; threading.Event().wait()"), os.environ, start_timeout_s=1.0)
    with pytest.raises(DeadlineExceeded, match="did not answer within 1 s"):
        process.start()
    assert process.pid is None


def test_a_server_that_dies_is_started_again_at_the_same_address() -> None:
    died = threading.Event()
    process = VllmProcess(runs(SERVER), os.environ, died=died.set).start()
    try:
        url, pid = process.url, process.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert died.wait(30)
        for _ in range(300):
            if process.pid not in (None, pid) and _ready(process):
                break
            threading.Event().wait(0.1)
        process.require_ready()
        assert (process.url, process.num_restarts) == (url, 1)
    finally:
        process.stop()


def _ready(process: VllmProcess) -> bool:
    try:
        process.require_ready()
    except Unavailable:
        return False
    return True
