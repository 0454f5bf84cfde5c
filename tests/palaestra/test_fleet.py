"""`palaestra env serve --processes`: one port, several processes; what dies is started anew, sessions go on."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from gym_core import headers
from gym_core.client import Client
from gym_core.errors import Unavailable

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    command = [sys.executable, "-m", "palaestra", "env", "serve", "ledger", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        try:
            yield service, json.loads(service.stdout.readline())
        finally:
            children = psutil.Process(service.pid).children(recursive=True) if service.poll() is None else []
            service.send_signal(signal.SIGTERM)
            try:
                assert service.wait(30) == 0
            finally:
                service.kill()
            assert psutil.wait_procs(children, timeout=10)[1] == []


async def seeded(client: Client) -> str:
    row = (await client.post_json("/tasks", {"seed": 0, "level": 1, "count": 1}))["tasks"][0]
    return (await client.post_json("/seed_session", row))["session_id"]


async def call(client: Client, session: str) -> int:
    reply = await client.post("/find_account", {"owner": "nobody"}, headers={headers.SESSION: session}, check=False)
    return reply.status


async def test_every_connection_reaches_every_session(tmp_path: Path) -> None:
    with serving("--processes", "2") as (service, ready):
        assert len(ready["processes"]) == 2 and ready["pid"] == service.pid
        workers = set()
        for _ in range(40):  # a connection each: the kernel spreads them
            async with Client(ready["url"]) as client:
                session = await seeded(client)
                workers.add(session.split(".")[0])
            async with Client(ready["url"]) as another:
                assert await call(another, session) == 422
            if len(workers) == 2:
                break
        assert workers == {"w0", "w1"}
        environ = [psutil.Process(pid).cmdline() for pid in ready["processes"]]
        assert all("SECRET" not in part for line in environ for part in line)


async def test_a_killed_process_is_started_anew_and_its_sessions_go_on(tmp_path: Path) -> None:
    with serving("--processes", "2", "--state-dir", str(tmp_path / "state")) as (_, ready):
        async with Client(ready["url"]) as client:
            session = await seeded(client)
            assert await call(client, session) == 422
        victim = ready["processes"][int(session.split(".")[0][1:])]
        os.kill(victim, signal.SIGKILL)
        status = 503
        async with asyncio.timeout(60):
            while status == 503:  # it is being started
                await asyncio.sleep(0.05)
                async with Client(ready["url"]) as client:
                    try:
                        status = await call(client, session)
                    except Unavailable:  # the connection was one of the process that died
                        continue
        assert status == 422, "the session goes on in the new process"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("nothing",), "no environment is called 'nothing'"), (("ledger", "--policy", "oracle"), "want one process")],
)
def test_what_is_wrong_is_said_once(arguments: tuple[str, ...], said: str) -> None:
    command = [sys.executable, "-m", "palaestra", "env", "serve", *arguments, "--processes", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2 and done.stderr.count(said) == 1 and done.stdout == ""
