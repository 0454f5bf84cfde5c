"""One vLLM server as a child process: started, watched, started again when it dies, stopped with us.

    start ─▶ process ─▶ GET /health answers ─▶ ready ─▶ (dies: `Unavailable` to callers, start again) ─▶ stop

PR_SET_PDEATHSIG follows the thread that forks, so one thread starts, watches and outlives every process of this server.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from gym_core.errors import DeadlineExceeded, PalaestraError, Unavailable

log = logging.getLogger(__name__)

_POLL_S, _STOP_S = 0.25, 4.0
_MAX_RESTARTS = 3
"""So many starts in a row that never answered, or crashes before a single answer, and the server stays down."""


class VllmProcess:
    """`command(port)` gives the command line. `died` is called, from another thread, each time a server that was ready
    ends by itself."""

    def __init__(
        self,
        command: Callable[[int], Sequence[str]],
        environment: Mapping[str, str],
        *,
        start_timeout_s: float = 600.0,
        died: Callable[[], None] = lambda: None,
    ) -> None:
        self._command, self._environment = command, dict(environment)
        self._start_timeout_s, self.died = start_timeout_s, died
        self._folder = tempfile.TemporaryDirectory(prefix="palaestra-vllm-")
        self._log_path = Path(self._folder.name) / "vllm.log"
        self._stopping, self._settled = threading.Event(), threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._error: PalaestraError | None = None
        self._ready = False
        self.num_restarts = 0
        self.url = ""
        self._thread = threading.Thread(target=self._run, name="vllm-process", daemon=True)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> VllmProcess:
        """Returns once the server answers. Raises `Unavailable` with its last words, `DeadlineExceeded`."""
        self._port()
        self._thread.start()
        self._settled.wait()
        if not self._ready:
            self.stop()
            assert self._error is not None
            raise self._error
        return self

    def require_ready(self) -> None:
        """Raises `Unavailable` while the server is down."""
        if not self._ready:
            raise self._error or Unavailable("vLLM is being started", stage="generate", retry_after_s=5.0)

    def stop(self) -> None:
        """End the server and whatever it started. Idempotent."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self._folder.cleanup()

    def _port(self) -> None:
        """A port that is free now. The address stays the same over restarts."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._number = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._number}"

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set() and failures <= _MAX_RESTARTS:
            self._begin()
            answered = self._await_health()
            if answered:
                failures, self._ready, self._error = 0, True, None
                self._settled.set()
                self._await_end()
            self._ready = False
            if self._stopping.is_set():
                break
            if not self._settled.is_set():  # the first start failed: that is the caller's to know, not to try again
                break
            failures += 1
            self.num_restarts += 1
            if answered:
                self._error = Unavailable(f"vLLM ended: {self._last_words()}; it is being started again",
                                          stage="generate", retry_after_s=5.0)  # fmt: skip
                self.died()
            log.error("vLLM ended and is started again: %s", self._last_words())
        self._end()
        self._settled.set()

    def _begin(self) -> None:
        with self._log_path.open("wb") as output:
            self._process = subprocess.Popen(
                self._command(self._number),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )

    def _await_health(self) -> bool:
        """Whether the server answered before it died, its time was over, or we were told to stop."""
        assert self._process is not None
        for _ in range(int(self._start_timeout_s / _POLL_S)):
            if self._process.poll() is not None:
                hint = "its flags come from `vllm_args` and the recipe in docs/serving.md"
                self._error = Unavailable(f"vLLM did not start: {self._last_words()}", stage="start", hint=hint)
                return False
            if _healthy(self.url):
                return True
            if self._stopping.wait(_POLL_S):
                return False
        waited = f"vLLM did not answer within {self._start_timeout_s:.0f} s: {self._last_words()}"
        self._error = DeadlineExceeded(waited, stage="start")
        self._end()
        return False

    def _await_end(self) -> None:
        assert self._process is not None
        while self._process.poll() is None:
            if self._stopping.wait(_POLL_S):
                return

    def _end(self) -> None:
        """SIGTERM to the server, which ends its workers; after a while SIGKILL to the whole group."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                log.warning("vLLM did not end within %.0f s of SIGTERM", _STOP_S)
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            log.debug("nothing is left of vLLM's process group")
        process.wait()

    def _last_words(self, num_lines: int = 4) -> str:
        lines = [line.strip() for line in self._log_path.read_text(errors="replace").splitlines() if line.strip()]
        telling = [line for line in lines if "Error" in line or "error" in line] or lines
        return " | ".join(telling[-num_lines:])[-1000:] or "it left no log"


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5.0) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False
