"""The sandbox service and its callers: the same runs as in any sandbox, a bounded queue, deadlines, who may call."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator

import pytest

from gym_core.client import Client
from gym_core.errors import BadRequest, Busy, DeadlineExceeded, TooLarge, Unauthorized
from gym_core.sandbox import choose
from gym_core.sandbox.faults import SandboxFault, SandboxUnavailable
from gym_core.sandbox.plain import Plain
from gym_core.sandbox.pool import Pool
from gym_core.sandbox.provider import Sandbox
from gym_core.sandbox.remote import Remote
from gym_core.sandbox.run import Ended, Kind, Limits, Program, Run, python_program
from gym_core.sandbox.service import build_app, from_provider
from gym_core.sandbox.wire import pack_job, unpack_job, unpack_run
from gym_core.serve import Served, start
from gym_core.tokens import pack_frame

SHORT = Limits(cpu_s=1.0, wall_s=10.0, memory_mb=256, output_bytes=1 << 20)
LONG = Limits(cpu_s=60.0, wall_s=60.0, memory_mb=256)
SLEEP = python_program("import time\ntime.sleep(50)")


@pytest.fixture
async def service(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    """One zygote, one caller may wait."""
    monkeypatch.delenv("PALAESTRA_TOKEN", raising=False)
    app = build_app(from_provider(Plain(), 1), name="plain", strong=False, queue_limit=1, token=None)
    async with await start(app) as served:
        yield served


async def ran(sandbox: Sandbox, source: str, stdin: bytes = b"") -> Run:
    return await asyncio.to_thread(sandbox.run, python_program(source), stdin, SHORT)


async def until(client: Client, **wanted: int) -> None:
    """Wait until the service says so of itself."""
    async with asyncio.timeout(30):
        while True:
            told = await client.get_json("/")
            if all(told[name] == value for name, value in wanted.items()):
                return
            await asyncio.sleep(0.02)


async def test_a_program_runs_there_as_it_would_here(service: Served) -> None:
    sandbox = Sandbox(Remote(service.url, allow_weak=True))
    assert (await ran(sandbox, "print(int(input()) + 1)", b"41")).stdout == b"42\n"
    crash = await ran(sandbox, "import sys\nprint('no', file=sys.stderr)\nraise SystemExit(2)")
    assert (crash.ended, crash.status, crash.stderr) == (Ended.CRASH, 2, b"no\n")
    assert (await ran(sandbox, "x = bytearray(10**10)")).ended is Ended.MEMORY
    assert (await ran(sandbox, "while True: print('x' * 9999)")).ended is Ended.FLOOD
    assert (await ran(sandbox, "open('f', 'w').write('x')")).ended is Ended.OK
    assert (await ran(sandbox, "import os\nprint(os.listdir('.'))")).stdout == b"[]\n"
    assert (sandbox.name, sandbox.strong) == ("remote plain", False)
    assert (await asyncio.to_thread(lambda: sandbox.python)).startswith("3.")
    sandbox.close()


async def test_a_weak_service_is_refused_unless_it_is_asked_for(service: Served) -> None:
    with pytest.raises(SandboxUnavailable, match="weak sandbox: plain"):
        await asyncio.to_thread(Remote(service.url, allow_weak=False).start)


async def test_the_service_is_chosen_by_its_address(service: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(choose.VARIABLE, raising=False)
    monkeypatch.setenv(choose.WEAK_VARIABLE, "1")
    monkeypatch.setenv(choose.URL_VARIABLE, service.url)
    sandbox = await asyncio.to_thread(choose.open_sandbox)
    assert sandbox.name == "remote plain"
    sandbox.close()


async def test_without_a_service_there_is_no_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SandboxUnavailable, match="cannot be asked"):
        await asyncio.to_thread(Remote("http://127.0.0.1:9").start)
    monkeypatch.delenv(choose.URL_VARIABLE, raising=False)
    with pytest.raises(BadRequest, match="http://sandbox:8400"):
        choose.provider_named("remote")


async def test_only_who_has_the_token_may_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PALAESTRA_TOKEN", raising=False)
    app = build_app(from_provider(Plain(), 1), name="plain", strong=True, queue_limit=1, token="right")
    async with await start(app) as served, Client(served.url, token="wrong") as stranger:
        with pytest.raises(Unauthorized):
            await stranger.post("/run", pack_job(SLEEP, b"", LONG))
        with pytest.raises(SandboxUnavailable, match="token"):
            await asyncio.to_thread(Remote(served.url).start)
        monkeypatch.setenv("PALAESTRA_TOKEN", "right")
        (await asyncio.to_thread(Remote(served.url).start)).close()


async def test_the_queue_is_bounded_and_those_who_leave_free_it(service: Served) -> None:
    async with Client(service.url, retries=0) as client:
        first, second = (asyncio.create_task(client.post("/run", pack_job(SLEEP, b"", LONG))) for _ in range(2))
        await until(client, running=1, waiting=1)
        with pytest.raises(Busy) as refused:
            await client.post("/run", pack_job(SLEEP, b"", LONG))
        assert refused.value.retry_after_s == 1.0
        for task in (second, first):
            task.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
        await until(client, running=0, waiting=0)  # the program was killed: it sleeps for 50 s
        reply = await client.post("/run", pack_job(python_program("print(7)"), b"", SHORT))
        assert unpack_run(reply.body).stdout == b"7\n"


async def test_a_job_ends_with_its_deadline(service: Served) -> None:
    async with Client(service.url, retries=0) as client:
        job = pack_job(SLEEP, b"", LONG)
        with pytest.raises(DeadlineExceeded):
            await client.post("/run", job, timeout_s=1.0)
        await until(client, running=0)


async def test_what_is_no_job_is_refused_with_its_field(service: Served) -> None:
    good = b'{"kind":"python","argv":["main.py"],"limits":{},"num_content":0}'
    async with Client(service.url, retries=0) as client:
        for body, field in (
            (b"nonsense", ""),
            (pack_frame(good.replace(b'"python"', b'"java"')), "kind"),
            (pack_frame(good.replace(b'["main.py"]', b"[]")), "argv"),
            (pack_frame(good.replace(b":0}", b":5}")), "num_content"),
            (pack_frame(good.replace(b'"limits":{}', b'"limits":{"cpu_s":-1}')), "cpu_s"),
        ):
            with pytest.raises(BadRequest) as refused:
                await client.post("/run", body)
            assert field in (refused.value.field or refused.value.message), body
        with pytest.raises(TooLarge, match="memory_mb"):
            await client.post("/run", pack_job(SLEEP, b"", Limits(memory_mb=1 << 20)))


async def test_a_dead_zygote_is_replaced() -> None:
    pool_app = build_app(from_provider(Plain(), 1), name="plain", strong=False, queue_limit=4, token=None)
    async with await start(pool_app) as served, Client(served.url, retries=0) as client:
        reply = await client.post("/run", pack_job(python_program("import os\nprint(os.getppid())"), b"", SHORT))
        os.kill(int(unpack_run(reply.body).stdout), signal.SIGKILL)
        job = pack_job(python_program("print(1)"), b"", SHORT)
        async with asyncio.timeout(60):
            while True:
                try:
                    reply = await client.post("/run", job, timeout_s=30.0)
                    break
                except SandboxFault:
                    await asyncio.sleep(0.05)  # it was noticed in the middle of this job
        assert unpack_run(reply.body).stdout == b"1\n"
        health = await client.get("/healthz")
        assert json.loads(health.body)["sandboxes"] == 1


async def test_a_pool_without_a_sandbox_says_so() -> None:
    pool = Pool(1)
    with pytest.raises(DeadlineExceeded, match="none has come to the door"):
        await pool.run(SLEEP, b"", LONG, 0.01)
    pool.close()


def test_a_job_survives_the_wire_whole() -> None:
    program = Program(Kind.BINARY, b"\x00\xff\n", ("a", "b"))
    limits = Limits(cpu_s=2.5, wall_s=None, files=9)
    assert unpack_job(pack_job(program, b"in\x00", limits)) == (program, b"in\x00", limits)


def test_a_run_cut_short_is_no_run() -> None:
    head = b'{"ended":"ok","status":0,"cpu_s":0,"wall_s":0,"memory_mb":0,"num_stdout":9}'
    with pytest.raises(ValueError, match="shorter"):
        unpack_run(pack_frame(head, b"abc"))
