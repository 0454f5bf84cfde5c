"""What a rollout costs over HTTP: every server its own process, a policy that costs nothing, CPU read from /proc.

    client ─▶ agent ─▶ stub policy            mode `frames`: tokens binary, never opened on the way
                   └─▶ environment
    client ─▶ agent ─▶ policy server ─▶ stub  mode `openai`: the stub answers OpenAI JSON, our policy server opens it
    client ─▶ agent+environment ─▶ stub       mode `embedded`: the environment lives in the agent's process
    client ─▶ agent ─▶ stub, workplace        mode `workplace`: a session over five databases, two turns, one tool call

`cpu_ms_per_rollout` is agent + environment + policy server where there is one; the stub and the client are left out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
from support.servers import Server, start

from gym_core.client import Client
from gym_core.contracts import RUN_KEY, Outcome, Rollout
from gym_core.errors import PalaestraError
from gym_core.tokens import FRAME_TYPE, unpack_frame

SUPPORT = Path(__file__).parent / "support"
COLUMNS = ("mode", "tokens", "concurrency", "rollouts_per_s", "cpu_ms_per_rollout", "p50_ms", "p99_ms", "errors")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print a JSON list of rows")
    parser.add_argument("--quick", action="store_true", help="fewer rollouts, two concurrencies, 128 tokens only")
    parser.add_argument("--rollouts", type=int, default=0, help="rollouts per row (default: 1600, quick 200)")
    parser.add_argument("--modes", default="frames,openai,embedded,workplace")
    parser.add_argument("--tokens", default="")
    parser.add_argument("--concurrency", default="")
    options = parser.parse_args()
    tokens = [int(part) for part in (options.tokens or ("128" if options.quick else "128,8192,65536")).split(",")]
    levels = [int(part) for part in (options.concurrency or ("1,16" if options.quick else "1,16,256,4096")).split(",")]
    count = options.rollouts or (200 if options.quick else 1600)
    rows = []
    for mode in options.modes.split(","):
        for size in tokens if mode != "workplace" else tokens[:1]:
            rows += measure(mode, size, levels, count)
    if options.json:
        print(json.dumps(rows, indent=1))
    else:
        print("  ".join(f"{column:>18}" for column in COLUMNS))
        for row in rows:
            print("  ".join(f"{row[column]:>18}" for column in COLUMNS))


def measure(mode: str, tokens: int, levels: list[int], count: int) -> list[dict[str, Any]]:
    """One row per concurrency, all on the same servers, the first rollouts thrown away as warm-up."""
    with tempfile.TemporaryDirectory() as folder:
        servers = _start(mode, tokens, Path(folder))
        try:
            asyncio.run(_drive(servers, min(levels[-1], 64), 64))
            rows = []
            for level in levels:
                played = max(count, level)
                before = {server.name: server.cpu_s() for server in servers}
                times, errors, seconds = asyncio.run(_drive(servers, level, played))
                spent = {server.name: 1000 * (server.cpu_s() - before[server.name]) / played for server in servers}
                ours = sum(ms for name, ms in spent.items() if name != "stub")
                rows.append(
                    {
                        "mode": mode,
                        "tokens": tokens,
                        "concurrency": level,
                        "rollouts_per_s": round(played / seconds, 1),
                        "cpu_ms_per_rollout": round(ours, 3),
                        "p50_ms": round(_quantile(times, 0.50), 2),
                        "p99_ms": round(_quantile(times, 0.99), 2),
                        "errors": errors,
                        "cpu_ms_by_server": {name: round(ms, 3) for name, ms in spent.items()},
                    }
                )
            return rows
        finally:
            for server in reversed(servers):
                server.stop()


def _start(mode: str, tokens: int, folder: Path) -> list[Server]:
    speaks = mode if mode in ("openai", "workplace") else "frames"
    stub = start("stub", [str(SUPPORT / "stub_policy.py"), "--mode", speaks, "--tokens", str(tokens)])
    store = ["--policy", stub.url, "--store", str(folder / "store.db")]
    if mode == "embedded":
        return [stub, start("agent", ["-m", "palaestra", "agent", "serve", "--embed", str(SUPPORT / "echo"), *store])]
    if mode == "workplace":
        place = start("environment", ["-m", "palaestra", "env", "serve", "workplace"])
        named = ["--env", f"workplace={place.url}/workplace"]
        return [stub, place, start("agent", ["-m", "palaestra", "agent", "serve", *named, *store])]
    echo = start("environment", ["-m", "palaestra", "env", "serve", "echo", "--path", str(SUPPORT / "echo")])
    servers = [stub, echo]
    policy = stub
    if mode == "openai":
        policy = start(
            "policy", ["-m", "palaestra", "serve", "--upstream", f"{stub.url}/v1", "--upstream-model", "stub"]
        )
        servers.append(policy)
    agent = [
        *("-m", "palaestra", "agent", "serve", "--env", f"echo={echo.url}/echo"),
        *("--policy", policy.url, "--store", str(folder / "store.db")),
    ]
    return [*servers, start("agent", agent)]


async def _drive(servers: list[Server], concurrency: int, count: int) -> tuple[list[float], int, float]:
    """Closed loop: so many callers, each with one rollout in flight. Returns ms per rollout, errors, seconds."""
    agent = servers[-1]
    async with _client(agent.url) as client:
        (manifest,) = (await client.get_json("/environments"))["environments"]
        asked = {"seed": 1, "level": manifest["levels"][0], "count": min(count, 200)}
        tasks = (await client.post_json(f"/environments/{manifest['name']}/tasks", asked, timeout_s=120))["tasks"]
    times: list[float] = []
    errors = 0
    numbers = iter(range(count))

    async def caller(client: Client) -> None:
        nonlocal errors
        for number in numbers:
            row = {**tasks[number % len(tasks)], RUN_KEY: {"run_id": "bench", "seed": number}}
            began = time.perf_counter()
            try:
                reply = await client.post("/run", row, headers={"Accept": FRAME_TYPE}, timeout_s=120)
                rollout = msgspec.json.decode(unpack_frame(reply.body)[0], type=Rollout)
                errors += rollout.outcome is not Outcome.SCORED
            except PalaestraError:
                errors += 1
            times.append(1000 * (time.perf_counter() - began))

    async with _client(agent.url, concurrency) as client:
        began = time.perf_counter()
        await asyncio.gather(*(caller(client) for _ in range(concurrency)))
        return times, errors, time.perf_counter() - began


def _client(url: str, limit: int = 8) -> Client:
    return Client(url, connection_limit=max(limit, 8))


def _quantile(values: list[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(q * len(ordered)), len(ordered) - 1)]


if __name__ == "__main__":
    main()
