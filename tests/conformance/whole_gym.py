"""A whole gym for foreign clients: two environments, a policy that knows their answers, an agent server and a head."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web
from fakes import call, message, segment

from agent_server.app import build_app as agent_app
from agent_server.config import AgentConfig
from agent_server.nemo_gym.config import HeadConfig
from agent_server.nemo_gym.head import build_head
from gym_core.client import Client
from gym_core.contracts import Task
from gym_core.environment import Script
from gym_core.errors import Unavailable
from gym_core.generate import make_tasks
from gym_core.registry import Registry
from gym_core.serve import Served, start
from gym_core.server import build_app
from gym_core.tokens import FRAME_TYPE, decode_trace, pack_frame, unpack_frame

SEED = 11


@dataclass(slots=True)
class Gym:
    """Where everything listens, and the tasks whose answers the policy knows."""

    environments: Served
    agent: Served
    head: Served
    policy: Served
    ledger: list[dict[str, Any]]
    math: list[dict[str, Any]]
    scripts: Mapping[str, Script] = field(default_factory=dict)


class KnowingPolicy:
    """Plays the oracle's script for prompts that it knows; `I do not know.` for others. Tokens count up from 100."""

    def __init__(self) -> None:
        self.scripts: dict[str, Script] = {}
        self.asked: list[dict[str, Any]] = []
        self.broken = False
        self.held_prompt = ""
        """A prompt whose turns wait until somebody sets `released`."""
        self.released = asyncio.Event()
        self.version = 0
        self.published: list[int] = []

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/v1/responses", self._turn)
        app.router.add_post("/weights", self._weights)
        app.router.add_get("/version", self._version)
        return app

    async def _version(self, _: web.Request) -> web.Response:
        return web.json_response({"version": self.version, "model": "m"})

    async def _weights(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.version = body["version"]
        self.published.append(Path(body["path"]).stat().st_size)
        return web.json_response({"version": self.version, "checksums": {}})

    def know(self, row: Mapping[str, Any], script: Script) -> None:
        self.scripts[_prompt(row["responses_create_params"]["input"])] = script

    def output(self, items: list[dict[str, Any]] | str) -> list[dict[str, Any]]:
        """What the policy says next."""
        script = self.scripts.get(_prompt(items))
        if script is None:
            return [message("I do not know.")]
        made = sum(isinstance(item, dict) and item.get("type") == "function_call_output" for item in items)
        if made < len(script.calls):
            step = script.calls[made]
            return [call(step.name, msgspec.json.encode(step.arguments).decode(), f"c{made}")]
        return [message(script.reply)]

    async def _turn(self, request: web.Request) -> web.StreamResponse:
        if self.broken:
            return web.json_response({"error": {"message": "the engine is gone"}}, status=500)
        if request.content_type != FRAME_TYPE:
            body = await request.json()
            output = self.output(body["input"])
            return web.json_response(
                {"id": "resp_p", "object": "response", "created_at": 0, "model": "m", "output": output}
            )
        head, blob = unpack_frame(await request.read())
        asked = msgspec.json.decode(head)["request"]
        self.asked.append(asked)
        if self.held_prompt and _prompt(asked["input"]) == self.held_prompt:
            await self.released.wait()
        seen = len(decode_trace(blob)) if blob else 0
        said = {
            "response": {
                "output": self.output(asked["input"]),
                "usage": {"input_tokens": seen + 2, "output_tokens": 3},
            },
            "began": "" if blob else "start",
            "finish_reason": "stop",
        }
        return web.Response(
            body=pack_frame(msgspec.json.encode(said), segment([7, 8], [100, 101, 102])), content_type=FRAME_TYPE
        )


def _prompt(items: list[dict[str, Any]] | str) -> str:
    """What the user said first: the same for a row and for a conversation that grew from it."""
    if isinstance(items, str):
        return items
    first = next(item for item in items if item.get("role") == "user")
    content = first["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def known_tasks(name: str, level: int, count: int) -> list[tuple[Task, Script]]:
    environment = Registry.discover().load(name).cls()
    made = make_tasks(environment, seed=SEED, level=level, count=count, split="train")
    oracles = [environment.oracle(task) for task in made]
    return [
        (task, said if isinstance(said, Script) else Script(reply=str(said)))
        for task, said in zip(made, oracles, strict=True)
    ]


async def open_gym(stack: AsyncExitStack, store: Path, **options: Any) -> tuple[Gym, KnowingPolicy]:
    """Everything on loopback, until the stack closes."""
    registry = Registry.discover()
    served = await stack.enter_async_context(await start(build_app([registry.load("ledger"), registry.load("math")])))
    policy = KnowingPolicy()
    brain = await stack.enter_async_context(await start(policy.app()))
    urls = {name: f"{served.url}/{name}" for name in ("ledger", "math")}
    agent = await stack.enter_async_context(
        await start(agent_app(AgentConfig(environments=urls, policy_url=brain.url, store=str(store / "store.db"))))
    )
    config = HeadConfig(agent_url=agent.url, policy_url=brain.url, environments=urls, **options)
    head = await stack.enter_async_context(await start(build_head(config)))
    rows: dict[str, list[dict[str, Any]]] = {}
    scripts = {}
    for name, level in (("ledger", 1), ("math", 0)):
        known = known_tasks(name, level, 3)
        rows[name] = [task.to_row() for task, _ in known]
        for task, script in known:
            policy.know(task.to_row(), script)
            scripts[task.task_id] = script
    return Gym(served, agent, head, brain, rows["ledger"], rows["math"], scripts), policy


async def run_driver(
    python: Path, script: Path, *arguments: str, timeout_s: float = 300.0, environ: Mapping[str, str] | None = None
) -> Any:
    """A script under a peer's interpreter; the JSON of its last line. Fails with its words where it does."""
    process = await asyncio.create_subprocess_exec(
        str(python),
        str(script),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environ,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), timeout_s)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, f"{script.name} ended with {process.returncode}:\n{err.decode()[-4000:]}"
    return json.loads(out.decode().strip().splitlines()[-1])


@asynccontextmanager
async def nemo_gym_server(python: Path, name: str, log: Path) -> AsyncIterator[str]:
    """A resources server of NeMo Gym, started by its own interpreter; its address."""
    site = "import sysconfig; print(sysconfig.get_path('purelib'))"
    asked = await asyncio.create_subprocess_exec(str(python), "-c", site, stdout=asyncio.subprocess.PIPE)
    place = Path((await asked.communicate())[0].decode().strip()) / "resources_servers" / name
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    server = {"entrypoint": "app.py", "host": "127.0.0.1", "port": port, "domain": "other"}
    config = {
        "dry_run": False,
        name: {"resources_servers": {name: server}},
        "head_server": {"host": "127.0.0.1", "port": 11000},
        **dict.fromkeys(("policy_base_url", "policy_api_key", "policy_model_name"), "none"),
    }
    environ = {**os.environ, "NEMO_GYM_CONFIG_DICT": json.dumps(config), "NEMO_GYM_CONFIG_PATH": name}
    with log.open("wb") as written:
        process = await asyncio.create_subprocess_exec(
            str(python), "app.py", cwd=place, env=environ, stdout=written, stderr=asyncio.subprocess.STDOUT
        )
    try:
        await _answering(f"http://127.0.0.1:{port}", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _answering(url: str, process: asyncio.subprocess.Process, log: Path) -> None:
    """Until it answers anything at all. Fails with its words when it ends first."""
    async with asyncio.timeout(180), Client(url, retries=0) as client:
        while process.returncode is None:
            try:
                await client.get("/openapi.json", timeout_s=30.0)
                return
            except Unavailable:
                await asyncio.sleep(0.2)
    raise AssertionError(f"the server ended with {process.returncode}: {log.read_text()[-2000:]}")
