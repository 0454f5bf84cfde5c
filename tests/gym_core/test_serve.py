"""The two ways to start a server, the two ways to stop it, and what a handler may ask of it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from gym_core import headers, serve
from gym_core.errors import BadRequest, Conflict

ROOT = Path(__file__).resolve().parents[2]


def make_app() -> web.Application:
    return serve.harden(web.Application(), "testing")


@pytest.mark.parametrize(
    ("given", "default", "seconds"), [(None, 30.0, 30.0), ("2.5", 30.0, 2.5), ("900", 30.0, 30.0), ("0", 30.0, 0.0)]
)
def test_the_callers_deadline_can_only_shorten(given: str | None, default: float, seconds: float) -> None:
    request = make_mocked_request("POST", "/", headers={} if given is None else {headers.DEADLINE: given})
    assert serve.deadline_s(request, default) == seconds


@pytest.mark.parametrize("given", ["soon", "-1", "nan"])
def test_a_deadline_that_is_no_time_is_refused(given: str) -> None:
    with pytest.raises(BadRequest, match="must be seconds"):
        serve.deadline_s(make_mocked_request("POST", "/", headers={headers.DEADLINE: given}), 1.0)


async def test_an_open_address_needs_a_token() -> None:
    with pytest.raises(BadRequest, match=r"refusing to listen on 0\.0\.0\.0"):
        await serve.start(make_app(), host="0.0.0.0")
    async with await serve.start(make_app(), host="0.0.0.0", token="t") as served:
        assert served.url == f"http://127.0.0.1:{served.port}"


async def test_a_port_in_use_is_named() -> None:
    async with await serve.start(make_app()) as served:
        with pytest.raises(Conflict, match=f"port {served.port} on 127.0.0.1 is in use"):
            await serve.start(make_app(), port=served.port)


async def test_an_address_of_another_machine_cannot_be_bound() -> None:
    with pytest.raises(BadRequest, match="cannot listen on"):
        await serve.start(make_app(), host="192.0.2.1", token="t")


PROGRAM = """
    import asyncio, sys
    from aiohttp import web
    from gym_core import serve

    async def stubborn(_):
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                print("cancelled", flush=True)

    app = web.Application()
    app.router.add_get("/stubborn", stubborn)
    serve.main(app, **eval(sys.argv[1]))
"""


@contextmanager
def launch(options: dict, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """The program above as a process; killed when the test is over, however it went."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), repr(options)],
        cwd=ROOT,
        env={**os.environ, "PALAESTRA_TOKEN": "", **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def ready(process: subprocess.Popen[str]) -> dict:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()[1]
    return json.loads(line)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_program_says_where_it_is_and_ends_cleanly(number: int) -> None:
    with launch({}) as process:
        said = ready(process)
        assert said == {"ready": True, "url": said["url"], "pid": process.pid}
        host, port = said["url"].removeprefix("http://").split(":")
        socket.create_connection((host, int(port)), timeout=5).close()
        process.send_signal(number)
        assert process.wait(timeout=10) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_a_handler_that_ignores_cancellation_does_not_hold_the_process() -> None:
    with launch({"grace_s": 0.5}) as process:
        port = int(ready(process)["url"].rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"GET /stubborn HTTP/1.1\r\nHost: x\r\n\r\n")
            connection.sendall(b"GET /stubborn HTTP/1.1\r\nHost: x\r\n\r\n")
            process.terminate()
            assert process.wait(timeout=10) in (0, 1)


def test_refusals_end_a_program_with_code_2_and_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, launch({"port": taken.getsockname()[1]}) as process:
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (2, "")
    assert err.startswith("error: port ") and err.count("\n") == 1
    with launch({"host": "0.0.0.0"}) as process:
        _, err = process.communicate(timeout=10)
    assert process.returncode == 2
    assert "PALAESTRA_TOKEN" in err


def test_the_token_comes_from_the_environment() -> None:
    with launch({"host": "0.0.0.0"}, PALAESTRA_TOKEN="from-the-environment") as process:
        ready(process)
        process.terminate()
        assert process.wait(timeout=10) == 0


def test_a_server_dies_with_its_parent() -> None:
    with (
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as parent,
        launch({"parent_pid": parent.pid}) as process,
    ):
        ready(process)
        parent.kill()
        assert process.wait(timeout=10) == 0


def test_a_server_whose_parent_is_already_gone_does_not_stay() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as parent:
        parent.wait(timeout=10)
    with launch({"parent_pid": parent.pid}) as process:
        assert process.wait(timeout=10) == 0


def test_a_program_goes_on_after_a_clean_stop() -> None:
    """The guard that ends a process which is late in stopping leaves one alone that was in time."""
    program = """
        import os, signal, threading
        from aiohttp import web
        from gym_core import serve
        app = web.Application()

        async def stop(_):
            os.kill(os.getpid(), signal.SIGTERM)

        app.on_startup.append(stop)
        serve.run(app, announce=False, grace_s=0.3)
        threading.Event().wait(0.6)
        print("still here")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "still here\n"), done.stderr


async def test_closing_lets_a_running_request_end() -> None:
    began, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        began.set()
        await go_on.wait()
        return web.Response(text="whole")

    app = web.Application()
    app.router.add_get("/slow", slow)
    served = await serve.start(serve.harden(app, "testing"))
    async with aiohttp.ClientSession() as session:
        request = asyncio.ensure_future(session.get(f"{served.url}/slow"))
        await began.wait()
        closing = asyncio.ensure_future(served.close())
        await asyncio.sleep(0)  # let it stop listening
        go_on.set()
        async with await request as reply:
            assert await reply.text() == "whole"
        await closing
        await served.close()
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(f"{served.url}/slow")


async def test_without_pidfds_the_parent_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    loop, alive, orphaned = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    serve.watch_parent(os.getppid(), alive, loop)
    serve.watch_parent(os.getppid() + 1, orphaned, loop)
    assert (alive.is_set(), orphaned.is_set()) == (False, True)


async def test_hardening_twice_keeps_one_door_and_takes_a_token_it_lacked() -> None:
    app = make_app()
    door = app[serve.DOOR]
    assert serve.harden(app, "other", "t") is app
    assert (app[serve.DOOR], door.server, bool(door.access), len(app.middlewares)) == (door, "testing", True, 1)
