"""A sandbox service somewhere else: this process sends programs and waits for their runs.

Environments in containers have no rights to make sandboxes, so they ask the service at `$PALAESTRA_SANDBOX_URL`
(`service.py`). Synchronous, as every sandbox is: it belongs in a worker process, and keeps one connection.
"""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import msgspec

from gym_core import auth, headers
from gym_core.errors import BadRequest, PalaestraError
from gym_core.http_reply import error_of
from gym_core.sandbox.choose import URL_VARIABLE
from gym_core.sandbox.faults import SandboxFault, SandboxUnavailable
from gym_core.sandbox.run import Limits, Program, Run
from gym_core.sandbox.wire import pack_job, unpack_run
from gym_core.tokens import FRAME_TYPE

CONNECT_S = 10.0
QUEUE_S = 60.0
"""How long a job may wait for its turn, over what it may run."""

GRACE_S = 15.0
ATTEMPTS = 3


class Remote:
    """Programs run where `url` says; how they are kept there the service tells, and a weak one is refused."""

    def __init__(self, url: str | None = None, *, queue_s: float = QUEUE_S, allow_weak: bool | None = None) -> None:
        self.url = (url or os.environ.get(URL_VARIABLE, "")).rstrip("/")
        if urlsplit(self.url).scheme not in ("http", "https") or not urlsplit(self.url).hostname:
            raise BadRequest(f"a sandbox service has an address such as http://sandbox:8400, not {self.url!r}",
                             field=URL_VARIABLE)  # fmt: skip
        self._queue_s = queue_s
        self._allow_weak = os.environ.get("PALAESTRA_ALLOW_WEAK_SANDBOX") == "1" if allow_weak is None else allow_weak
        self._isolation = ""
        self._strong = True

    @property
    def name(self) -> str:
        """`remote`, and behind it how the service keeps programs."""
        return f"remote {self._isolation}".rstrip()

    @property
    def strong(self) -> bool:
        return self._strong

    def start(self) -> RemoteRunner:
        """Raises `SandboxUnavailable` where nobody answers, the token is wrong, or the service is too weak."""
        runner = RemoteRunner(self.url, self._queue_s)
        try:
            told = runner.ask()
        except PalaestraError as error:
            runner.close()
            raise SandboxUnavailable(
                f"the sandbox service at {self.url}: {error.message}", hint=error.hint or "is it running?"
            ) from None
        self._isolation, self._strong = str(told["isolation"]), bool(told["strong"])
        if not self._strong and not self._allow_weak:
            runner.close()
            raise SandboxUnavailable(
                f"the sandbox service at {self.url} runs programs in a weak sandbox: {self._isolation}",
                hint="its GET / says why",
            )
        return runner


class RemoteRunner:
    """One connection to the service."""

    def __init__(self, url: str, queue_s: float) -> None:
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=CONNECT_S)
        self._url, self._path, self._queue_s = url, parts.path, queue_s
        self._open = True
        self.python = ""

    @property
    def alive(self) -> bool:
        return self._open

    def ask(self) -> dict[str, Any]:
        """What the service says of itself."""
        told: dict[str, Any] = json.loads(self._request("GET", "/", b"", CONNECT_S))
        self.python = str(told["python"])
        return told

    def run(self, program: Program, stdin: bytes, limits: Limits) -> Run:
        """One job from start to end. Raises `SandboxFault`, `Busy` when the queue stays full, `DeadlineExceeded`."""
        try:
            reply = self._request("POST", "/run", pack_job(program, stdin, limits), limits.wall_time_s + self._queue_s)
            return unpack_run(reply)
        except (ValueError, msgspec.MsgspecError) as error:
            self.close()
            raise SandboxFault(f"{self._url} did not answer with a run: {error}") from None

    def close(self) -> None:
        self._open = False
        self._connection.close()

    def _request(self, method: str, path: str, body: bytes, seconds: float) -> bytes:
        """A body of status 200; a job may be repeated, since it changes nothing. Raises typed errors."""
        end = time.monotonic() + seconds
        broken = 0
        while True:
            try:
                status, got, data = self._once(method, path, body, max(0.1, end - time.monotonic()))
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                broken += 1
                if broken == ATTEMPTS or isinstance(error, TimeoutError):
                    self._open = False
                    what = f"{self._url} cannot be asked: {error or type(error).__name__}"
                    raise SandboxFault(what, hint="is the sandbox service running?") from None
                continue
            if status == 200:
                return data
            failure = error_of(status, got, data, self._url)
            wait_s = failure.retry_after_s or 0.5
            if not failure.retryable or time.monotonic() + wait_s >= end:
                raise failure
            threading.Event().wait(wait_s)

    def _once(self, method: str, path: str, body: bytes, left: float) -> tuple[int, dict[str, str], bytes]:
        sent = {"Content-Type": FRAME_TYPE, headers.DEADLINE: f"{left:.3f}"}
        if token := auth.sandbox_token():
            sent["Authorization"] = f"Bearer {token}"
        self._connection.timeout = left + GRACE_S
        if self._connection.sock is not None:
            self._connection.sock.settimeout(left + GRACE_S)
        self._connection.request(method, self._path + path, body=body, headers=sent)
        response = self._connection.getresponse()
        return response.status, dict(response.headers), response.read()
