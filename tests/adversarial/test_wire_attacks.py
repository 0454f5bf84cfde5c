"""Attacks below the routes: slow senders, large headers, bombs, climbing paths, addresses in rows that want a call."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import zlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
from aiohttp import web

from agent_server.app import build_app
from agent_server.config import AgentConfig
from gym_core import middleware, serve
from gym_core.client import Client
from gym_core.errors import RemoteError
from gym_core.loading import load_file
from gym_core.registry import Registry
from gym_core.serve import harden, json_reply, start
from gym_core.server import EnvironmentServiceConfig
from gym_core.server import build_app as environment_app

fakes = load_file(Path(__file__).parents[1] / "agent_server" / "fakes.py")
PATIENCE_S = 60.0


async def answers(reader: asyncio.StreamReader) -> bytes:
    """Everything that the server says until it hangs up."""
    async with asyncio.timeout(PATIENCE_S):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


async def connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = url.removeprefix("http://").partition(":")
    return await asyncio.open_connection(host, int(port))


@pytest.fixture
async def echo() -> AsyncIterator[str]:
    """A hardened server that answers how long its body was; it takes a megabyte."""

    async def length(request: web.Request) -> web.Response:
        return json_reply({"length": len(await request.read())})

    app = web.Application()
    app.router.add_post("/length", length)
    harden(app, "testing", max_body_bytes=1 << 20)
    async with await start(app) as served:
        yield served.url
        async with Client(served.url, timeout_s=PATIENCE_S) as client:
            assert await client.post_json("/length", b"four") == {"length": 4}


async def test_a_connection_that_never_finishes_its_headers_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "IDLE_S", 0.2)
    app = harden(web.Application(), "testing")
    async with await start(app) as served:
        for begun in (b"", b"POST /length HTTP/1.1\r\nHost: x\r\nX-Slow: "):
            reader, writer = await connect(served.url)
            writer.write(begun)
            assert await answers(reader) == b""
            writer.close()


async def test_a_body_that_trickles_in_is_refused(echo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "BODY_S", 0.2)
    reader, writer = await connect(echo)
    writer.write(b"POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nConnection: close\r\n\r\nonly so much")
    async with asyncio.timeout(PATIENCE_S):
        said = await reader.readuntil(b"}}")
    assert b" 408 " in said.partition(b"\r\n")[0] and b'"slow_body"' in said
    writer.close()
    monkeypatch.setattr(middleware, "BODY_S", 60.0)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Large: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(2000)) + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 50\r\n\r\nhello",
        b"POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /length HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Split: a\nX-Other: b\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=[
        "long path",
        "long header",
        "many headers",
        "two lengths",
        "two framings",
        "no chunk size",
        "bare newline",
        "tls",
    ],
)
async def test_a_head_that_no_client_sends_is_refused(echo: str, head: bytes) -> None:
    reader, writer = await connect(echo)
    writer.write(head)
    async with asyncio.timeout(PATIENCE_S):
        line = await reader.readline()
    assert line == b"" or line.split()[1] in (b"400", b"404", b"413", b"414", b"431"), line
    writer.close()


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_bomb_is_not_unpacked_past_the_body_limit(echo: str, encoding: str) -> None:
    packed = (gzip.compress if encoding == "gzip" else zlib.compress)(bytes(512 << 20), 9)
    assert len(packed) < 1 << 20
    before = psutil.Process().memory_info().rss
    async with Client(echo, retries=0, timeout_s=PATIENCE_S) as client:
        said = await client.post("/length", packed, {"Content-Encoding": encoding}, check=False)
    assert said.status == 413
    assert psutil.Process().memory_info().rss - before < 128 << 20


async def test_a_small_reply_that_unpacks_to_a_large_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gym_core.client.MAX_UNPACKED_BYTES", 1 << 20)
    packed = gzip.compress(bytes(64 << 20), 9)

    async def bomb(_: web.Request) -> web.Response:
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

    app = web.Application()
    app.router.add_get("/bomb", bomb)
    async with await start(app) as served, Client(served.url, retries=0, timeout_s=PATIENCE_S) as client:
        with pytest.raises(RemoteError, match="is over 1048576 bytes"):
            await client.get("/bomb")


class Trap:
    """An address that nobody has any business to call."""

    def __init__(self) -> None:
        self.called: list[str] = []

    def app(self) -> web.Application:
        async def caught(request: web.Request) -> web.Response:
            self.called.append(request.path)
            return json_reply({})

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", caught)
        return app


def rows_with(url: str) -> list[dict[str, Any]]:
    """The address in every place of a row where somebody might think of calling it."""
    text = f"See {url}/text and ![it]({url}/markdown.png)"
    image = {"type": "input_image", "image_url": f"{url}/image.png", "file_url": f"{url}/file"}
    said = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}, image]}]
    tools = [
        {"type": "mcp", "server_label": "x", "server_url": f"{url}/mcp"},
        {"type": "function", "name": "fetch", "parameters": {"$ref": f"{url}/schema.json"}},
    ]
    metadata = {"judge": f"{url}/judge", "url": f"{url}/meta", "callback": f"{url}/callback"}
    params = {"input": said, "tools": tools, "metadata": {"url": f"{url}/metadata"}, "instructions": text}
    base = {"responses_create_params": params, "expected_answer": f"{url}/answer", **metadata}
    schema = json.dumps({"$ref": f"{url}/schema.json"})
    return [
        {"environment": "math", **base},
        {"environment": "structured_outputs", **base, "schema_type": "json", "schema_str": schema},
        {
            "environment": "fake",
            "agent_ref": {"name": "fake", "url": f"{url}/agent", "base_url": f"{url}/base"},
            **base,
        },
        {"environment": "fake", "environment_url": f"{url}/env", "policy_url": f"{url}/policy", **base},
        {"environment": f"{url}/environment", **base},
        {"agent_ref": {"name": f"{url}/name", "type": "responses_api_agents"}, **base},
    ]


async def test_an_address_in_a_row_is_never_called(tmp_path: Path) -> None:
    trap = Trap()
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        url = (await enter(await start(trap.app()))).url
        registry = Registry.discover()
        loaded = [registry.load(name) for name in ("math", "structured_outputs")]
        gym = await enter(await start(environment_app(loaded, EnvironmentServiceConfig(workers=1))))
        fake = await enter(await start(fakes.FakeEnvironment().app()))
        links = f'{{"$ref": "{url}/reply.json"}} <!DOCTYPE a SYSTEM "{url}/dtd"> \\boxed{{{url}/boxed}}'
        brain = await enter(await start(fakes.FakePolicy([fakes.message(links)]).app()))
        served = {name: f"{gym.url}/{name}" for name in ("math", "structured_outputs")} | {"fake": fake.url}
        config = AgentConfig(environments=served, policy_url=brain.url, store=str(tmp_path / "store.db"))
        agent = await enter(await start(build_app(config)))
        client = await enter(Client(agent.url, retries=0, timeout_s=PATIENCE_S))
        outcomes = []
        for row in rows_with(url):
            said = await client.post("/run", row, check=False)
            outcomes.append(said.json().get("outcome") or said.status)
            for name in ("math", "structured_outputs"):
                direct = await enter(Client(served[name], retries=0, timeout_s=PATIENCE_S))
                await direct.post("/ingest", {"rows": [row]}, check=False)
                await direct.post("/verify", {**row, "response": {"output": [fakes.message(links)]}}, check=False)
    assert outcomes.count("scored") >= 3 and outcomes[-2:] == [404, 404], outcomes
    assert trap.called == []


CLIMBS = ("../../../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd", "/etc/passwd",
          "....//....//etc/passwd", "..\\..\\etc\\passwd", "%00/etc/passwd", "file:///etc/passwd")  # fmt: skip


@pytest.mark.parametrize("climb", CLIMBS)
async def test_no_path_leads_to_a_file(tmp_path: Path, climb: str) -> None:
    """Every route that takes a part of a path, of every service whose routes we can list without a model."""
    gym_app = environment_app([Registry.discover().load("ledger")], EnvironmentServiceConfig())
    async with await start(gym_app) as gym, await start(fakes.FakePolicy([]).app()) as brain:
        config = AgentConfig(environments={"ledger": gym.url}, policy_url=brain.url, store=str(tmp_path / "store.db"))
        agent_app = build_app(config)
        async with await start(agent_app) as agent:
            for served, app in ((gym, gym_app), (agent, agent_app)):
                bases = {resource.canonical.partition("{")[0] for resource in app.router.resources()} | {
                    "/",
                    "/static/",
                }
                for base in sorted(bases):
                    reader, writer = await connect(served.url)
                    path = f"{base.rstrip('/')}/{climb}".encode()
                    writer.write(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    said = await answers(reader)
                    assert said.split(b" ", 2)[1] in (b"400", b"403", b"404", b"405"), (path, said[:200])
                    assert b"root:" not in said
                    writer.close()


def test_a_blob_lies_in_its_folder_whatever_its_row_says(tmp_path: Path) -> None:
    from gym_core.store.blobs import BlobReader, BlobRef
    from gym_core.store.fault import StoreFault

    (tmp_path / "blobs").mkdir()
    (tmp_path / "outside").write_bytes(b"secret")
    reader = BlobReader(tmp_path / "blobs")
    for name in ("../outside", str(tmp_path / "outside"), "a/../../outside", ".", ".."):
        with pytest.raises(StoreFault, match="is no name of a file of tokens"):
            reader.read(BlobRef(name, 0, 6, zlib.crc32(b"secret")))
    assert os.listdir(tmp_path / "blobs") == []
