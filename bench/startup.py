"""What it takes until rollouts can begin: seven environments, an agent server and a head, each service its own process.

ready_s       from the first process being started until the last one says that it listens
warm_s        until every environment has made a task and graded an answer, its workers loaded
memory_mb     proportional memory (PSS) of all processes then, warm workers included
packages      distributions that have to be installed for it, our own left out
install_mb    what they take on the disk
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import json
import socket
import tempfile
import threading
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from support.servers import ROOT, Server, start

from gym_core.client import Client

SEVEN = ("math", "code", "stem_qa", "structured_outputs", "instruction_following", "calendar", "workplace")
QUIET_S = 0.5
"""Workers are warm once all processes together have used next to no CPU for so long."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--repeats", type=int, default=3, help="starts; the best one is told")
    options = parser.parse_args()
    runs = [measure() for _ in range(options.repeats)]
    names = needed()
    result = {
        **min(runs, key=lambda run: run["ready_s"]),
        "ready_s_all": [run["ready_s"] for run in runs],
        "packages": len(names),
        "install_mb": round(sum(map(_size_mb, names)), 1),
        "environments": list(SEVEN),
    }
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        for name, value in result.items():
            print(f"{name:>14}  {value}")


def measure() -> dict[str, Any]:
    """Start everything, once; ports are chosen beforehand, so that nobody waits for another one's address."""
    gym, agent, head = _free_ports(3)
    environments = [part for name in SEVEN for part in ("--env", f"{name}=http://127.0.0.1:{gym}/{name}")]
    with tempfile.TemporaryDirectory() as folder:
        policy = ["--policy", "http://127.0.0.1:9"]
        commands = {
            "environments": ["env", "serve", *SEVEN, "--port", str(gym)],
            "agent": ["agent", "serve", *environments, *policy, "--store", f"{folder}/store.db", "--port", str(agent)],
            "head": ["nemo-gym", "serve", *environments, "--agent", f"http://127.0.0.1:{agent}", "--port", str(head)],
        }
        began = time.perf_counter()
        with ThreadPoolExecutor(len(commands)) as pool:
            starting = [pool.submit(start, name, ["-m", "palaestra", *rest]) for name, rest in commands.items()]
            servers = [one.result() for one in starting]
        ready_s = time.perf_counter() - began
        try:
            asyncio.run(_use(servers[0].url))
            _settle(servers)
            return {
                "ready_s": round(ready_s, 2),
                "warm_s": round(time.perf_counter() - began - QUIET_S, 2),
                "memory_mb": round(sum(server.pss_mb() for server in servers), 1),
                "memory_mb_by_server": {server.name: round(server.pss_mb(), 1) for server in servers},
            }
        finally:
            for server in servers:
                server.stop()


async def _use(url: str) -> None:
    """One task and one verdict of every environment."""
    async with Client(url, timeout_s=300) as client:
        await asyncio.gather(*(_verdict(client, name) for name in SEVEN))


async def _verdict(client: Client, name: str) -> None:
    manifest = await client.get_json(f"/{name}/manifest")
    asked = {"count": 1, "level": manifest["levels"][0]}
    (row,) = (await client.post_json(f"/{name}/tasks", asked, idempotent=True))["tasks"]
    said = {"output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "no"}]}]}
    body: dict[str, Any] = {**row, "response": said}
    if manifest["keeps_sessions"]:
        session = (await client.post_json(f"/{name}/seed_session", row, idempotent=True))["session_id"]
        body = {"session_id": session, "response": said}
    await client.post(f"/{name}/verify", body, idempotent=True)


def _settle(servers: list[Server]) -> None:
    """Wait until nobody works any more; a process that has ended takes its CPU time out of the sum."""
    waiting = threading.Event()
    spent = -1.0
    while abs((now := sum(server.cpu_s() for server in servers)) - spent) > 0.02:
        spent = now
        waiting.wait(QUIET_S)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def needed() -> set[str]:
    """Names of the distributions that `pip install palaestra` brings, without extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    waiting = [Requirement(text) for text in project["dependencies"]]
    found: set[str] = set()
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        if name in found or (wanted.marker and not wanted.marker.evaluate({"extra": ""})):
            continue
        found.add(name)
        for text in importlib.metadata.requires(name) or ():
            requirement = Requirement(text)
            extras = wanted.extras or {""}
            if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(Requirement(text.partition(";")[0]))
    return found


def _size_mb(name: str) -> float:
    files = importlib.metadata.files(name) or ()
    paths = [Path(str(file.locate())) for file in files]
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


if __name__ == "__main__":
    main()
