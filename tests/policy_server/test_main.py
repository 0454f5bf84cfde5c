"""The policy server as a process of its own."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

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


async def test_a_wrong_setting_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    process = await launch(f"checkpoint={tmp_path / 'nothing'}")
    _, stderr = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 2
    assert stderr.decode().count("\n") == 1
    assert "there is no folder" in stderr.decode()
