"""The policy server as a process of its own."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import aiohttp
import msgspec

from gym_core.client import Client
from model import checkpoint
from model.stack import HybridModel
from model.tokenizer import Tokenizer

ROOT = Path(__file__).parents[2]


async def launch(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "policy_server", *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=-1
    )


async def test_it_announces_itself_serves_and_stops(hybrid: HybridModel, tokenizer: Tokenizer, tmp_path: Path) -> None:
    checkpoint.save_pretrained(hybrid, tmp_path / "saved", also=tokenizer.save)
    process = await launch(f"checkpoint={tmp_path / 'saved'}", "num_slots=4", "max_length=256")
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 60)
        ready = msgspec.json.decode(line)
        async with Client(ready["url"]) as client:
            reply = await client.post_json("/v1/completions", {"prompt": "What", "max_tokens": 3, "seed": 1})
            assert reply["usage"]["completion_tokens"] <= 3
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 20) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_what_runs_when_it_has_to_end_fails_as_a_typed_error(
    hybrid: HybridModel, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    checkpoint.save_pretrained(hybrid, tmp_path / "saved", also=tokenizer.save)
    process = await launch(f"checkpoint={tmp_path / 'saved'}", "num_slots=4", "max_length=200000")
    asked = {"prompt": "What", "ignore_eos": True, "logit_bias": {"2": -100, "11": -100}}
    try:
        assert process.stdout is not None
        url = msgspec.json.decode(await asyncio.wait_for(process.stdout.readline(), 60))["url"]
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
            session.post(f"{url}/v1/completions", json=asked | {"stream": True}) as stream,
            session.post(f"{url}/v1/responses", json={"input": "x", "ignore_eos": True, "stream": True}) as items,
            asyncio.timeout(60),
        ):
            await stream.content.readline()
            await items.content.readline()
            whole = asyncio.create_task(session.post(f"{url}/v1/completions", json=asked))
            while b"palaestra_policy_running 3.0" not in await (await session.get(f"{url}/metrics")).read():
                await asyncio.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            reply = await whole
            assert reply.status == 503
            assert (await reply.json())["error"]["code"] == "unavailable"
            *_, error, end = (await stream.content.read()).decode().strip().split("\n\n")
            assert (msgspec.json.decode(error[6:])["error"]["code"], end) == ("unavailable", "data: [DONE]")
            last = (await items.content.read()).decode().strip().split("\n\n")[-1]
            assert last.startswith("event: response.failed\n")
        assert await asyncio.wait_for(process.wait(), 60) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_wrong_setting_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    process = await launch(f"checkpoint={tmp_path / 'nothing'}")
    _, stderr = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 2
    assert stderr.decode().count("\n") == 1
    assert "there is no folder" in stderr.decode()
