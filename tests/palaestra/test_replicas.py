"""`palaestra serve --replicas 2` as a person starts it: one address, shared memory to both, one killed and back."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import click
import psutil
import pytest

from gym_core.client import Client
from model.checkpoint import save_pretrained
from model.config import HybridConfig
from model.stack import HybridModel
from model.tokenizer import Tokenizer
from palaestra.commands.serve import _for_each, command
from palaestra.processes import start_service
from trainer import transports
from trainer.config import GrpoRecipe, ObjectiveRecipe
from trainer.learner import Learner
from trainer.placement import LocalPlacement
from trainer.publisher import WeightPublisher, probe_rows


def test_a_replica_is_started_with_the_words_of_the_command(tmp_path: Path) -> None:
    words = ["--model", str(tmp_path), "--slots", "4", "--no-thinking", "--replicas", "3", "--port", "8000"]
    context = command.make_context("serve", words)
    with context.scope():
        assert _for_each(click.get_current_context()) == ["--model", str(tmp_path), "--slots", "4", "--no-thinking"]


@pytest.mark.slow
async def test_two_replicas_serve_what_is_published(tmp_path: Path) -> None:
    tokenizer = Tokenizer.train(["two and three is five"] * 20, vocab_size=320)
    config = HybridConfig.tiny(tokenizer.vocab_size)
    save_pretrained(HybridModel(config, seed=1), tmp_path / "model", also=tokenizer.save)
    arguments = ["serve", "--model", str(tmp_path / "model"), "--replicas", "2", "--slots", "4"]
    service = await start_service("policy", [*arguments, "--parent-pid", str(os.getpid())], tmp_path, ready_s=240)
    placement = LocalPlacement()
    try:
        learner = await placement.place(lambda: Learner(HybridModel(config, seed=5), GrpoRecipe(), ObjectiveRecipe()))
        async with Client(service.url) as client:
            for version, name in enumerate(("shared_memory", "http", "disk", "shared_memory"), 1):
                publisher = WeightPublisher(
                    client, probe_rows(config.vocab_size, count=2), transport=transports.make(name)
                )
                metrics = await publisher.publish(learner, version)
                assert metrics["publish/canary_decode_abs_diff_max"] < 1e-4
                await publisher.close()
            rows = await client.get_json("/replicas")
            assert [row["version"] for row in rows] == [4, 4]
            await _lose(client, 0)
            await _back(client)
            body = {"prompt": [40, 41], "max_tokens": 4, "return_token_ids": True}
            answers = await asyncio.gather(*(client.post_json("/v1/completions", body) for _ in range(8)))
            assert {answer["choices"][0]["policy_version"] for answer in answers} == {4}
    finally:
        await placement.close()
        await service.stop()


async def _lose(client: Client, number: int) -> None:
    """kill -9 the process that listens at the replica's address."""
    rows: list[dict[str, Any]] = await client.get_json("/replicas")
    port = int(rows[number]["url"].rpartition(":")[2])
    listening = (each for each in psutil.net_connections("tcp") if each.status == psutil.CONN_LISTEN)
    owner = next(each.pid for each in listening if each.laddr.port == port)
    assert owner is not None
    os.kill(owner, signal.SIGKILL)


async def _back(client: Client) -> None:
    async with asyncio.timeout(120):
        while True:
            rows = await client.get_json("/replicas")
            if sum(row["restarts"] for row in rows) == 1 and all(row["up"] for row in rows):
                assert [row["version"] for row in rows] == [4, 4]
                return
            await asyncio.sleep(0.05)
