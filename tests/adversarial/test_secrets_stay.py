"""Every service is started with a secret that nobody may ever see again: not in replies, logs, arguments, or files."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
from aiohttp import web

from gym_core.client import Client, Response
from gym_core.serve import start
from palaestra.processes import ServiceProcess, start_service

CANARIES = {
    "PALAESTRA_TOKEN": "canary-token-58f1c0",
    "PALAESTRA_UPSTREAM_TOKEN": "canary-upstream-7d20ab",
    "PALAESTRA_ENVIRONMENTS_SESSION_SECRET": "canary-session-91be44",
    "CANARY_JUDGE_KEY": "canary-judge-0c77e2",
}
ROUTES = {
    "environments": ("/", "/healthz", "/metrics", "/environments", "/math/manifest", "/math/openapi.json", "/config"),
    "agent": ("/", "/healthz", "/metrics", "/environments", "/rollouts/r/0", "/rollouts/none", "/config", "/run"),
    "policy": ("/", "/healthz", "/metrics", "/v1/models", "/version", "/config"),
    "head": ("/", "/healthz", "/metrics", "/global_config_dict_yaml", "/server_instances", "/reverify_mode", "/config"),
}


async def quotes(request: web.Request) -> web.Response:
    """An endpoint that says back, in words, the key that it was given, as some do when they refuse it."""
    said = f"Incorrect API key provided: {request.headers.get('Authorization')}."
    return web.json_response({"error": {"message": said, "type": "invalid_request_error"}}, status=401)


async def launch(stack: AsyncExitStack, logs: Path, name: str, *arguments: str) -> ServiceProcess:
    service = await start_service(name, [*arguments, "--parent-pid", str(os.getpid())], logs)
    stack.push_async_callback(service.stop)
    return service


async def test_no_secret_is_ever_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CANARIES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PALAESTRA_LOG_LEVEL", "DEBUG")
    upstream = web.Application()
    upstream.router.add_route("*", "/{path:.*}", quotes)
    config = tmp_path / "house.toml"
    async with AsyncExitStack() as stack:
        mirror = await stack.enter_async_context(await start(upstream))
        config.write_text(f'[judge]\nbase_url = "{mirror.url}/v1"\nmodel = "j"\napi_key_env = "CANARY_JUDGE_KEY"\n')
        logs, store = tmp_path / "logs", tmp_path / "store" / "store.db"
        store.parent.mkdir()
        gym = await launch(stack, logs, "gym", "env", "serve", "math", "ledger", "--config", str(config))
        policy = await launch(stack, logs, "policy", "serve", "--upstream", f"{mirror.url}/v1", "--upstream-model", "m")
        named = [part for env in ("math", "ledger") for part in ("--env", f"{env}={gym.url}/{env}")]
        agent = await launch(
            stack, logs, "agent", "agent", "serve", *named, "--policy", policy.url, "--store", str(store)
        )
        head = await launch(
            stack, logs, "head", "nemo-gym", "serve", *named, "--agent", agent.url, "--policy", policy.url
        )
        services = {"environments": gym, "agent": agent, "policy": policy, "head": head}
        seen = b"".join([said async for said in conversation(services)])
        seen += arguments_of(psutil.process_iter())
        for service in services.values():
            for child in psutil.Process(service.process.pid).children(recursive=True):
                assert "PALAESTRA_TOKEN" not in environment_of(child), "workers call nobody and need no token"
    seen += shown(config)
    seen += b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert len(seen) > 20_000 and b"policy_error" in seen and b"Incorrect API key provided: " in seen
    told = {name for name, value in CANARIES.items() if value.encode() in seen}
    assert told == set()


async def conversation(services: dict[str, ServiceProcess]) -> Any:
    """What the services say to somebody with the token, to one without, and to one who asks for nonsense."""
    async with Client(services["environments"].url, token=CANARIES["PALAESTRA_TOKEN"], timeout_s=60) as gym:
        rows = (await gym.post_json("/math/tasks", {"count": 3}))["tasks"]
        rows += (await gym.post_json("/ledger/tasks", {"count": 1}))["tasks"]
    for name, service in services.items():
        for token in (CANARIES["PALAESTRA_TOKEN"], "wrong", None):
            async with Client(service.url, token=token, timeout_s=60, retries=0) as client:
                for path in ROUTES[name]:
                    yield told(await client.get(path, check=False))
                for path in ("/run", "/verify", "/math/verify", "/v1/responses", "/weights", "/nothing"):
                    yield told(await client.post(path, b'{"x": ', check=False))
                    yield told(await client.post(path, {"input": "hi", "model": "m"}, check=False))
    for name in ("agent", "head"):
        async with Client(services[name].url, token=CANARIES["PALAESTRA_TOKEN"], timeout_s=60, retries=0) as client:
            for number, row in enumerate(rows):
                asked = {**row, "palaestra": {"rollout_id": f"r/{number}", "run_id": "r"}} if name == "agent" else row
                yield told(await client.post("/run", asked, check=False))
            yield told(await client.get("/rollouts/r/0", check=False))
            yield told(await client.get("/metrics", check=False))


def told(reply: Response) -> bytes:
    return reply.body + b"\n".join(f"{name}: {value}".encode() for name, value in reply.headers.items())


def arguments_of(processes: Iterable[psutil.Process]) -> bytes:
    """What `ps` shows of every process of this machine."""
    found = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            found.append(" ".join(process.cmdline()))
    return "\n".join(found).encode("utf-8", "replace")


def environment_of(process: psutil.Process) -> dict[str, str]:
    with contextlib.suppress(psutil.Error):
        return process.environ()
    return {}


def shown(config: Path) -> bytes:
    """What `palaestra config` prints with all of it set."""
    command = [sys.executable, "-m", "palaestra", "config", "environments", "--config", str(config)]
    said = subprocess.run(command, capture_output=True, timeout=120, check=True)
    assert b"session_secret" in said.stdout
    return said.stdout + said.stderr


COMMANDS = {
    "environments": ["-m", "palaestra", "env", "serve", "math"],
    "several processes": ["-m", "palaestra", "env", "serve", "math", "--processes", "2"],
    "one being written": ["-m", "palaestra", "env", "serve", "math", "--policy", "idle"],
    "agent": ["-m", "palaestra", "agent", "serve", "--env", "a=http://127.0.0.1:9", "--policy", "http://127.0.0.1:9"],
    "policy": ["-m", "palaestra", "serve", "--upstream", "http://127.0.0.1:9/v1", "--upstream-model", "m"],
    "policy alone": ["-m", "policy_server", "backend=upstream", "upstream_url=http://127.0.0.1:9", "upstream_model=m"],
    "head": ["-m", "palaestra", "nemo-gym", "serve", "--env", "a=http://127.0.0.1:9"],
}


@pytest.mark.parametrize("name", sorted(COMMANDS))
async def test_no_service_listens_beyond_this_machine_without_a_token(name: str, tmp_path: Path) -> None:
    empty = tmp_path / "tokens.json"
    empty.write_text('{"tokens": {}}')
    cases: list[dict[str, str]] = [{}, {"PALAESTRA_TOKEN": " "}, {"PALAESTRA_TOKENS": str(empty)}]
    for given in cases if name == "agent" else cases[:1]:
        environ = {key: value for key, value in os.environ.items() if not key.startswith("PALAESTRA_")} | given
        process = await asyncio.create_subprocess_exec(
            sys.executable, *COMMANDS[name], "--host", "0.0.0.0",
            env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        said, wrong = await asyncio.wait_for(process.communicate(), 120)
        assert process.returncode == 2, wrong
        assert b"refusing to listen on 0.0.0.0 without a token" in wrong and said == b""


def test_there_is_one_way_to_listen() -> None:
    """A second one would be a second place to forget the token."""
    root = Path(__file__).resolve().parents[2]
    words = ("TCPSite(", "run_app(", "create_server(", "start_server(", "HTTPServer(", "import uvicorn")
    rooms = ("gym_core", "agent_server", "policy_server", "trainer", "palaestra", "environments")
    found = {
        str(path.relative_to(root))
        for room in rooms
        for path in (root / room).rglob("*.py")
        if any(word in path.read_text() for word in words)
    }
    assert found == {"gym_core/serve.py"}
