"""Services elsewhere: what fits together, the hand-over of a policy, and a policy server that follows it."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import torch
from aiohttp import web

from gym_core.client import Client
from gym_core.config import load
from gym_core.errors import BadRequest, DeadlineExceeded, Unauthorized, Unavailable
from gym_core.serve import harden, json_reply, start
from model.checkpoint import save_pretrained
from model.config import HybridConfig
from model.stack import HybridModel
from model.tokenizer import Tokenizer
from palaestra.run_folder import RunFolder, unfinished
from palaestra.services import HANDOVER, Handover, Services, hand_over, num_addresses, read_handover, write_handover
from trainer.config import load_recipe

ROOT = Path(__file__).parents[2]


# What fits together ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"agent": "http://a"}, "without the `policy` and the `environments`"),
        ({"policy": "http://p"}, "`shared` folder"),
        ({"environments": "environments:8200"}, "is an address such as http://environments:8000"),
        ({"environments": "http://"}, "is an address such as http://environments:8000"),
        ({"environments": "http://here:port"}, "is an address such as http://environments:8000"),
        ({"environments": "http://[::1:8200"}, "is an address such as http://environments:8000"),
    ],
)
def test_what_does_not_fit_together_is_refused(given: dict[str, str], why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        load(Services, section="services", overrides=given, environ={})


def test_nothing_named_is_everything_started_here() -> None:
    assert load(Services, section="services", environ={}) == Services()
    named = load(Services, section="services", environ={"PALAESTRA_SERVICES_ENVIRONMENTS": "http://e:1"})
    assert named.environments == "http://e:1"


# Hand-over -------------------------------------------------------------------------------------------------------


def test_a_hand_over_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "deep" / HANDOVER
    assert read_handover(path) is None
    given = Handover(checkpoint="/runs/a/before", name="a-1", settings={"num_slots": 3})
    write_handover(path, given)
    assert read_handover(path) == given
    assert [found.name for found in path.parent.iterdir()] == [HANDOVER]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"checkpoint": 3, "name": ""}'])
def test_another_file_is_no_hand_over(tmp_path: Path, text: str) -> None:
    (tmp_path / HANDOVER).write_text(text)
    with pytest.raises(BadRequest, match="is no hand-over"):
        read_handover(tmp_path / HANDOVER)


@asynccontextmanager
async def policy(shared: Path, *, slow: int = 0, token: str | None = None) -> AsyncIterator[str]:
    """Serves what is handed over, after so many looks; before that, what was there before."""
    looks = 0

    async def version(_: web.Request) -> web.Response:
        nonlocal looks
        looks += 1
        handover = read_handover(shared / HANDOVER)
        name = handover.name if handover and looks > slow else "the run before"
        return json_reply({"version": 0, "model": name})

    app = web.Application()
    app.router.add_get("/version", version)
    async with await start(harden(app, "policy", token)) as served:
        yield served.url


async def test_a_hand_over_waits_for_its_very_own_policy(tmp_path: Path) -> None:
    async with policy(tmp_path, slow=2) as url:
        await hand_over(Services(policy=url, shared=str(tmp_path)), Path("/runs/x/before"), "x", num_slots=7)
    handover = read_handover(tmp_path / HANDOVER)
    assert handover is not None and handover.checkpoint == "/runs/x/before" and handover.settings == {"num_slots": 7}
    assert handover.name.startswith("x-")


async def test_a_policy_that_serves_something_else_is_an_error_that_says_so(tmp_path: Path) -> None:
    async with policy(tmp_path, slow=10**6) as url:
        services = Services(policy=url, shared=str(tmp_path))
        with pytest.raises(DeadlineExceeded, match="it serves another checkpoint") as late:
            await hand_over(services, Path("/runs/x/before"), "x", timeout_s=0.2)
        assert "--follow" in late.value.hint
    with pytest.raises(DeadlineExceeded, match="nobody answers"):
        await hand_over(services, Path("/runs/x/before"), "x", timeout_s=0.2)


async def test_a_wrong_token_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALAESTRA_TOKEN", "wrong")
    async with policy(tmp_path, token="right") as url:
        with pytest.raises(Unauthorized):
            await hand_over(Services(policy=url, shared=str(tmp_path)), Path("/runs/x/before"), "x")


# Following -------------------------------------------------------------------------------------------------------


def checkpoint(folder: Path, tokenizer: Tokenizer) -> Path:
    torch.manual_seed(0)
    folder.mkdir()
    save_pretrained(HybridModel(HybridConfig.tiny(tokenizer.vocab_size)), folder, also=tokenizer.save)
    return folder


async def serving(client: Client, name: str) -> None:
    """Wait until the server serves under this name; it is away for a moment in between."""
    async with asyncio.timeout(120):
        while True:
            try:
                if (await client.get_json("/version"))["model"] == name:
                    return
            except Unavailable:
                pass  # away for a moment, or not there yet
            await asyncio.sleep(0.05)


async def refusing(client: Client, why: bytes) -> None:
    """Wait until the server says that it has no policy, and why."""
    async with asyncio.timeout(120):
        while True:
            try:
                if why in (await client.get("/healthz")).body:
                    return
            except Unavailable:
                pass  # away for a moment
            await asyncio.sleep(0.05)


async def test_a_server_follows_one_hand_over_after_the_other(tmp_path: Path) -> None:
    tokenizer = Tokenizer.train(["the policy of a run is handed over"] * 4, 300)
    saved = checkpoint(tmp_path / "before", tokenizer)
    path = tmp_path / HANDOVER
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "palaestra", "serve", "--follow", str(path), "--slots", "2", "--max-length", "64"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        ready = msgspec.json.decode(await asyncio.wait_for(process.stdout.readline(), 120))
        async with Client(ready["url"], retries=0) as client:
            reply = await client.get("/version", check=False)
            assert reply.status == 503 and b"no training run has handed over" in reply.body
            for name in ("first", "second"):
                write_handover(path, Handover(checkpoint=str(saved), name=name))
                await serving(client, name)
            write_handover(path, Handover(checkpoint=str(tmp_path / "absent"), name="third"))
            await refusing(client, b"cannot be served")
            write_handover(path, Handover(checkpoint=str(saved), name="fourth"))
            await serving(client, "fourth")
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 30) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


# Going on --------------------------------------------------------------------------------------------------------


def test_the_newest_unfinished_run_of_the_very_recipe_is_gone_on_with(tmp_path: Path) -> None:
    recipe = load_recipe("ci", {})
    assert unfinished(tmp_path, recipe) is None
    RunFolder.create(tmp_path, load_recipe("ci", {"grpo.steps": 3}))
    assert unfinished(tmp_path, recipe) is None
    folder = RunFolder.create(tmp_path, recipe)
    assert unfinished(tmp_path, recipe) == folder.path
    saved = folder.read_json("recipe.json")
    del saved["policy"]["replicas"]
    folder.write_json("recipe.json", saved)
    assert unfinished(tmp_path, recipe) == folder.path, "a run from before there were replicas has one"
    folder.write_json("recipe.json", saved | {"of_tomorrow": 1})
    assert unfinished(tmp_path, recipe) is None
    folder.write_json("recipe.json", saved)
    folder.write_json("summary.json", {})
    assert unfinished(tmp_path, recipe) is None


async def test_a_name_stands_for_as_many_servers_as_it_has_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    async def addresses(host: str, port: int, **_: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        if host == "nobody":
            raise socket.gaierror(-2, "Name or service not known")
        return [(2, 1, 6, "", (f"10.0.0.{number}", port)) for number in (4, 5, 4)]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", addresses)
    assert await num_addresses("http://agent:8100") == 2
    assert await num_addresses("http://nobody:8100") == await num_addresses("") == 1


async def test_a_name_that_nobody_can_have_stands_for_one() -> None:
    """Whoever asks there is told what is wrong with it."""
    assert await num_addresses(f"http://{'a' * 64}:8100") == 1
