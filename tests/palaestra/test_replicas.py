"""`palaestra serve --replicas 2` as a person starts it: one address, shared memory to both, one killed and back."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any, cast

import click
import psutil
import pytest
from aiohttp import web

from gym_core.client import Client
from gym_core.errors import Unavailable
from gym_core.serve import start
from model.checkpoint import save_pretrained
from model.config import HybridConfig
from model.stack import HybridModel
from model.tokenizer import Tokenizer
from palaestra.commands.serve import _for_each, command
from palaestra.processes import start_service
from palaestra.replicas import placed_app
from policy_server.config import PolicyConfig
from trainer import transports
from trainer.config import GrpoRecipe, ObjectiveRecipe
from trainer.learner import Learner
from trainer.placement import LocalPlacement, Placement
from trainer.publisher import WeightPublisher, probe_rows


def test_a_replica_is_started_with_the_words_of_the_command(tmp_path: Path) -> None:
    words = ["--model", str(tmp_path), "--slots", "4", "--no-thinking", "--replicas", "3", "--port", "8000"]
    context = command.make_context("serve", words)
    with context.scope():
        assert _for_each(click.get_current_context()) == ["--model", str(tmp_path), "--slots", "4", "--no-thinking"]


class Placed:
    """Stands for a policy server that was placed; `url` is an error where it says none."""

    def __init__(self, url: str) -> None:
        self.url, self.gone = url, asyncio.Event()

    async def call(self, method: str) -> str:
        if not self.url:
            raise Unavailable("it ended while it read its checkpoint")
        if self.url == "odd":
            raise KeyError("a tensor that nobody knows")
        return str(getattr(self, method))

    def kill(self) -> None:
        self.gone.set()

    async def ended(self) -> None:
        await self.gone.wait()


class Places:
    """A placement that gives one address after the other, and keeps what it placed by name."""

    def __init__(self, *urls: str) -> None:
        self.urls, self.placed = list(urls), dict[str, list[Placed]]()

    async def place_apart(self, name: str, factory: Any, settings: PolicyConfig) -> Placed:
        assert settings.checkpoint == "before"
        made = Placed(self.urls.pop(0))
        self.placed.setdefault(name, []).append(made)
        return made


def served(places: Places, count: int) -> web.Application:
    return placed_app(cast(Placement, places), count, PolicyConfig(checkpoint="before"), publish_s=5.0)


async def test_a_placed_replica_that_ends_is_placed_again_under_its_name() -> None:
    async def say(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    policy = web.Application()
    policy.router.add_get("/healthz", say)
    policy.router.add_get("/version", say)
    async with await start(policy) as one:
        places = Places(one.url, one.url, "", "odd", one.url)  # two of them end before they have an address
        async with await start(served(places, 2)) as router, Client(router.url) as client:
            places.placed["policy-1"][0].kill()
            async with asyncio.timeout(60):
                rows: list[dict[str, Any]] = []
                while not rows or [row["restarts"] for row in rows] != [0, 3] or not all(row["up"] for row in rows):
                    await asyncio.sleep(0.02)
                    rows = await client.get_json("/replicas")
            assert await client.get_json("/version") == {"status": "ok"}
            assert {name: len(made) for name, made in places.placed.items()} == {"policy-0": 1, "policy-1": 4}
        assert all(each.gone.is_set() for made in places.placed.values() for each in made), "they end with the router"


async def test_replicas_that_cannot_start_are_the_error_of_whoever_starts_them() -> None:
    places = Places("http://127.0.0.1:1", "")
    with pytest.raises(Unavailable, match="while it read its checkpoint"):
        await start(served(places, 2))
    assert all(each.gone.is_set() for made in places.placed.values() for each in made)
    with pytest.raises(Unavailable, match="replica 0 could not be placed: KeyError: 'a tensor that nobody knows'"):
        await start(served(Places("odd"), 1))


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
