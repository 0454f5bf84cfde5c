"""A policy server under a constant mixed load for as long as asked, its memory sampled: does it grow?

    streams, whole answers, tools, thinking budgets, grammars, clients that hang up  ─┐
    new weights every few seconds (by file, every other one refused half-way)         ├─▶ one server process ─▶ /metrics
    requests beyond the queue, wrong requests                                        ─┘

The slope is that of a line through the process's resident memory after a warm-up of a quarter of the time. Exit code 1
when it grows by more than `--bound` MB in an hour and by more than `--slack` MB from the line's start to its end, when
a healthy request fails, or when slots or requests are left behind.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

VOCAB, MODEL = 384, "soak"
_PREFIX = "palaestra_policy_"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=24, help="requests under way at any time")
    parser.add_argument("--every", type=float, default=0.0, help="seconds between samples (default: 200 in all)")
    parser.add_argument("--bound", type=float, default=30.0, help="MB an hour")
    parser.add_argument("--slack", type=float, default=4.0, help="MB, what an allocator may still be filling up")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object, samples included")
    options = parser.parse_args()
    result = asyncio.run(soak(options))
    if options.json:
        print(json.dumps(result))
    else:
        show(result)
    sys.exit(0 if result["steady"] else 1)


async def soak(options: argparse.Namespace) -> dict[str, Any]:
    """Load a fresh server and say what became of it."""
    from gym_core.client import Client

    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder))
        async with served(Path(folder)) as (url, pid), Client(url, retries=0, timeout_s=120.0) as client:
            counts: Counter[str] = Counter()
            end = time.monotonic() + options.minutes * 60
            loads = [load(client, random.Random(options.seed + i), end, counts) for i in range(options.clients)]
            others = asyncio.gather(new_weights(client, Path(folder), end, counts), *loads)
            samples = await sample_memory(pid, end, options.every or options.minutes * 60 / 200)
            await others
            left = await at_rest(client)
    return verdict(samples, counts, left, options)


def save(folder: Path) -> None:
    """A small hybrid with its tokenizer, and two sets of weights for it."""
    from safetensors.torch import save_file

    from model.checkpoint import save_pretrained, state_tensors
    from model.config import HybridConfig
    from model.stack import HybridModel
    from model.tokenizer import Tokenizer

    tokenizer = Tokenizer.train(["What is 2 + 3? The answer is 5, in JSON and in words."] * 20, 320)
    for seed in range(3):
        model = HybridModel(HybridConfig.tiny(VOCAB), seed=seed)
        if seed == 0:
            save_pretrained(model, folder / MODEL, also=tokenizer.save)
        else:
            save_file({name: part.contiguous() for name, part in state_tensors(model)}, folder / f"{seed}.safetensors")


@asynccontextmanager
async def served(folder: Path) -> Any:
    """(address, process id) of a policy server over the checkpoint in `folder`."""
    settings = ("num_slots=12", "num_prefixes=6", "max_length=512", "max_waiting=64", "prefill_tokens=96")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "policy_server", f"checkpoint={folder / MODEL}", *settings,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[1]), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), 120)
        yield json.loads(line)["url"], process.pid
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def load(client: Any, rng: random.Random, end: float, counts: Counter[str]) -> None:
    """One client: a request of some kind after another."""
    from gym_core.errors import Busy, PalaestraError

    while time.monotonic() < end:
        kind, route, body = request(rng)
        try:
            if kind == "hangs up":
                await hang_up(client, route, body, rng)
            elif body.get("stream"):
                async for _ in client.events(route, body):
                    pass
            else:
                await client.post_json(route, body)
            counts[kind] += 1
        except Busy:
            counts["busy"] += 1
            await asyncio.sleep(0.05)
        except PalaestraError as error:
            counts[kind if kind == "wrong" and error.status < 500 else f"failed: {kind}: {error}"] += 1


def request(rng: random.Random) -> tuple[str, str, dict[str, Any]]:
    """(kind, route, body) of any request that this server takes, and of some that it refuses."""
    seed, text = (
        rng.randrange(1 << 30),
        "What is " + " + ".join(str(rng.randrange(99)) for _ in range(rng.randrange(9))),
    )
    sampling: dict[str, Any] = {
        "seed": seed,
        "max_tokens": rng.randrange(1, 40),
        "temperature": rng.choice([0, 0.7, 1]),
    }
    chat = {"messages": [{"role": "user", "content": text}], **sampling}
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}
    thinks = {"chat_template_kwargs": {"enable_thinking": True}, "thinking_token_budget": rng.randrange(1, 20)}
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    completions, chats = "/v1/completions", "/v1/chat/completions"
    return rng.choice(
        [
            ("stream", completions, {"prompt": text, "stream": True, "ignore_eos": True, **sampling}),
            ("chat stream", chats, {**chat, "stream": True, "n": rng.randrange(1, 4)}),
            ("whole", completions, {"prompt": [text, text + "?"], "n": 2, "logprobs": 2, "echo": True, **sampling}),
            ("tools", chats, {**chat, "tools": [tool], "tool_choice": rng.choice(["auto", "none", "required"])}),
            ("thinking", chats, {**chat, **thinks}),
            ("grammar", chats, {**chat, "response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}),
            ("experts", completions, {"prompt": text, "return_routed_experts": True, **sampling}),
            ("responses", "/v1/responses", {"input": text, "max_output_tokens": 20, "top_logprobs": 1, "seed": seed}),
            ("hangs up", completions, {"prompt": text, "stream": True, "ignore_eos": True, "max_tokens": 200}),
            ("wrong", chats, {**chat, "top_p": 7}),
        ]
    )


async def hang_up(client: Any, route: str, body: dict[str, Any], rng: random.Random) -> None:
    """Leave a stream after a few of its events."""
    events = client.events(route, body)
    for _ in range(rng.randrange(1, 6)):
        await anext(events, None)
    await events.aclose()


async def new_weights(client: Any, folder: Path, end: float, counts: Counter[str]) -> None:
    """New weights every two seconds; between them some that must be refused."""
    from gym_core.errors import Conflict

    version = 0
    while time.monotonic() < end:
        version += 1
        switch = "drain" if version % 3 == 0 else "between_tokens"
        path = str(folder / f"{1 + version % 2}.safetensors")
        await client.post_json("/weights", {"version": version, "path": path, "switch": switch})
        counts["weights"] += 1
        try:
            await client.post_json("/weights", {"version": version, "path": path})
        except Conflict:
            counts["weights refused"] += 1
        await asyncio.sleep(min(2.0, max(0.0, end - time.monotonic())))


async def sample_memory(pid: int, end: float, every_s: float) -> list[tuple[float, float]]:
    """(second, resident MB) of the process until the end."""
    began, samples = time.monotonic(), []
    page = os.sysconf("SC_PAGE_SIZE")
    while time.monotonic() < end:
        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page / 2**20
        samples.append((time.monotonic() - began, resident))
        await asyncio.sleep(min(every_s, max(0.01, end - time.monotonic())))
    return samples


async def at_rest(client: Any) -> dict[str, float]:
    """What the engine says it still holds, when it has had time to notice that the last client is gone."""
    names = ("running", "waiting", "commands", "drains", "restarts")
    held: dict[str, float] = {}
    for _ in range(200):
        lines = (await client.get("/metrics")).body.decode().splitlines()
        told: dict[str, float] = {}
        for line in lines:
            if line.startswith(_PREFIX):
                name, value = line.removeprefix(_PREFIX).rsplit(" ", 1)
                told[name] = float(value)
        held = {name: told.get(name, told.get(f"{name}_total", 0.0)) for name in names}
        if not any(held.values()):
            break
        await asyncio.sleep(0.05)
    return held


def slope_of(samples: list[tuple[float, float]]) -> tuple[float, float]:
    """(MB per hour, MB over these samples) of the least-squares line."""
    times, sizes = zip(*samples, strict=True)
    mean_t, mean_s = sum(times) / len(times), sum(sizes) / len(sizes)
    spread = sum((t - mean_t) ** 2 for t in times)
    per_s = sum((t - mean_t) * (s - mean_s) for t, s in samples) / spread if spread else 0.0
    return per_s * 3600, per_s * (times[-1] - times[0])


def verdict(
    samples: list[tuple[float, float]], counts: Counter[str], left: dict[str, float], options: argparse.Namespace
) -> dict[str, Any]:
    """The result as it is printed. `steady` is what the exit code says."""
    settled = [sample for sample in samples if sample[0] >= samples[-1][0] / 4]
    per_hour, grown = slope_of(settled)
    failures = {what: count for what, count in counts.items() if what.startswith("failed")}
    grows = per_hour > options.bound and grown > options.slack
    return {
        "minutes": options.minutes,
        "requests": sum(counts.values()),
        "counts": dict(sorted(counts.items())),
        "first_mb": round(samples[0][1], 1),
        "settled_mb": round(settled[0][1], 1),
        "last_mb": round(samples[-1][1], 1),
        "mb_per_hour": round(per_hour, 2),
        "grown_mb": round(grown, 2),
        "left": left,
        "steady": not (grows or failures or any(left.values())),
        "samples": [(round(second, 1), round(size, 1)) for second, size in samples],
    }


def show(result: dict[str, Any]) -> None:
    for name, value in result.items():
        if name != "samples":
            print(f"{name:12} {value}")


if __name__ == "__main__":
    main()
