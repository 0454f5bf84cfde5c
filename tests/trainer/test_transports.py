"""Every transport between a real learner and a real engine: what arrives, how it is switched, what is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from gym_core.client import Client
from gym_core.errors import BadRequest, Conflict, DeadlineExceeded, SlowBody, Unauthorized
from gym_core.serve import start
from model import checkpoint, weight_layout, weight_memory
from model.config import HybridConfig
from model.stack import HybridModel
from model.tokenizer import Tokenizer
from model.weight_memory import Handle, WeightMemory, open_memory
from policy_server import weight_body
from policy_server.app import build_app
from policy_server.config import PolicyConfig
from policy_server.engine import Engine
from policy_server.launch import embed
from policy_server.requests import GenerateRequest
from policy_server.weights import WeightsParams, load_weights
from trainer import transports, weight_post
from trainer.config import GrpoRecipe, ObjectiveRecipe
from trainer.learner import Learner
from trainer.placement import Handle as Placed
from trainer.placement import LocalPlacement
from trainer.publisher import WeightPublisher, probe_rows

CONFIG = HybridConfig.tiny(320)
PROBES = probe_rows(320, count=3, length=20)


class MovedLearner(Learner):
    """A learner whose step moves every parameter and buffer."""

    @torch.no_grad()
    def train(self) -> None:
        for _, tensor in checkpoint.state_tensors(self.model):
            tensor.add_(torch.randn(tensor.shape) * 0.02)


def make_learner(seed: int = 5, dtype: torch.dtype = torch.float32) -> MovedLearner:
    return MovedLearner(HybridModel(CONFIG, seed=seed, dtype=dtype), GrpoRecipe(), ObjectiveRecipe())


@pytest.fixture
async def learner() -> AsyncIterator[Placed]:
    placement = LocalPlacement()
    yield await placement.place(make_learner)
    await placement.close()


@pytest.fixture
def tokenizer() -> Tokenizer:
    return Tokenizer.train(["two and three is five"] * 20, vocab_size=320)


@pytest.fixture
async def engine(tokenizer: Tokenizer) -> AsyncIterator[Engine]:
    settings = PolicyConfig(num_slots=4, num_prefixes=2, max_length=256)
    engine = embed(HybridModel(CONFIG, seed=1), tokenizer, settings).start()
    yield engine
    await engine.close()


@pytest.fixture
async def client(engine: Engine, tokenizer: Tokenizer) -> AsyncIterator[Client]:
    async with await start(build_app(engine, tokenizer)) as served, Client(served.url) as client:
        yield client


def ask(**fields: Any) -> GenerateRequest:
    return GenerateRequest(**{"prompt_token_ids": [40, 41, 42], "max_tokens": 8, "temperature": 0.0, **fields})


@pytest.mark.parametrize("name", transports.NAMES)
async def test_three_versions_in_a_row_are_served_as_the_learner_has_them(
    client: Client, engine: Engine, learner: Placed, name: str
) -> None:
    publisher = WeightPublisher(client, PROBES, transport=transports.make(name))
    for version in (1, 2, 3):
        await learner.call("train")
        metrics = await publisher.publish(learner, version)
        assert metrics["publish/canary_abs_diff_max"] < 1e-4
        assert metrics["publish/canary_decode_abs_diff_max"] < 1e-4
        held = weight_layout.checksums(checkpoint.state_tensors(engine.model))
        assert held == await learner.call("weight_checksums")
        sample = (await engine.generate(ask())).samples[0]
        assert set(sample.versions.tolist()) == {version}
    assert {"write", "switch", "canary"} <= set(publisher.seconds)
    await publisher.close()


async def test_what_is_served_lies_in_the_memory_that_was_offered(
    client: Client, engine: Engine, learner: Placed
) -> None:
    offer = await learner.call("offer_weights", True)
    await load_weights(engine, WeightsParams(version=1, memory=offer.handle, layout=offer.layout))
    seen = open_memory(offer.handle)
    seen.zero_()  # nothing was copied: what is written into the memory is what the server computes with
    assert all(not tensor.any() for _, tensor in checkpoint.state_tensors(engine.model))


async def test_the_memory_that_is_served_is_not_written_to(client: Client, engine: Engine, learner: Placed) -> None:
    publisher = WeightPublisher(client, PROBES, transport=transports.make("shared_memory"))
    await publisher.publish(learner, 1)
    before = weight_layout.checksums(checkpoint.state_tensors(engine.model))
    for _ in range(3):  # offers that the server never hears of
        await learner.call("train")
        await learner.call("offer_weights", True)
        await learner.call("settle_weights", True, False)
    assert weight_layout.checksums(checkpoint.state_tensors(engine.model)) == before
    offered = (await learner.call("offer_weights", True)).handle
    await learner.call("settle_weights", True, None)  # the server may have taken it: it gets no second writing
    assert (await learner.call("offer_weights", True)).handle != offered
    with pytest.raises(ValueError, match="taken it back"):
        open_memory(replace(offered, fd=(await learner.call("offer_weights", True)).handle.fd))


async def test_returning_to_a_memory_joins_the_weights_again(engine: Engine, learner: Placed) -> None:
    """Two exchanges without a token in between come back to the addresses that the joined weights were made of."""
    await engine.generate(ask())
    for version in (1, 2, 3):
        await learner.call("train")
        offer = await learner.call("offer_weights", False)
        await load_weights(engine, WeightsParams(version=version, memory=offer.handle, layout=offer.layout))
        await learner.call("settle_weights", False, True)
        if version == 1:
            await engine.generate(ask())
    fresh = HybridModel(CONFIG, seed=2)
    checkpoint.load_tensors(fresh, dict(checkpoint.state_tensors(engine.model)))
    got = (await engine.generate(ask(max_tokens=20))).samples[0]
    tokens = torch.tensor([40, 41, 42, *got.token_ids.tolist()])
    with torch.no_grad():
        hidden = fresh.forward(tokens, torch.tensor([0, len(tokens)]))
        want = fresh.token_logprobs(hidden[2:-1], tokens[3:])[0]
    assert torch.allclose(torch.from_numpy(got.logprobs), want, atol=1e-4)


async def test_weights_of_another_dtype_are_copied_and_rounded(engine: Engine) -> None:
    offer = make_learner(dtype=torch.bfloat16).offer_weights(False)
    await load_weights(engine, WeightsParams(version=1, memory=offer.handle, layout=offer.layout))
    assert all(tensor.dtype == torch.float32 for tensor in engine.model.parameters())
    assert engine.version == 1


def moved(offer: Any, how: str) -> WeightsParams:
    """A request with a fault."""
    params = WeightsParams(version=1, memory=offer.handle, layout=list(offer.layout))
    first, *rest = offer.layout
    if how == "missing":
        params.layout = rest
    elif how == "beyond the end":
        params.layout = [replace(first, offset=offer.handle.nbytes - 64), *rest]
    elif how == "before the start":
        params.layout = [replace(first, offset=-64), *rest]
    elif how == "unknown dtype":
        params.layout = [replace(first, dtype="float77"), *rest]
    elif how == "bf16 router bias":
        at = next(i for i, place in enumerate(offer.layout) if "correction_bias" in place.name)
        params.layout[at] = replace(offer.layout[at], dtype="bfloat16")
    elif how == "checksum":
        params.checksums = {place.name: "00000000" for place in offer.layout}
    else:
        assert how == "old version"
        params.version = 0
    return params


@pytest.mark.parametrize(
    "how",
    ["missing", "beyond the end", "before the start", "unknown dtype", "bf16 router bias", "checksum", "old version"],
)
async def test_an_offer_that_does_not_fit_is_refused_and_the_old_weights_stay(engine: Engine, how: str) -> None:
    before = weight_layout.checksums(checkpoint.state_tensors(engine.model))
    with pytest.raises(Conflict):
        await load_weights(engine, moved(make_learner().offer_weights(False), how))
    assert weight_layout.checksums(checkpoint.state_tensors(engine.model)) == before
    assert engine.version == 0


@pytest.mark.parametrize(
    "handle", [Handle(os.getpid(), 1000, 1, 64), Handle(os.getpid(), -1, 10**9, 64), Handle(1 << 22, -1, 1, 64)]
)
async def test_memory_that_is_not_there_is_a_bad_request_with_the_way_out(engine: Engine, handle: Handle) -> None:
    with pytest.raises(BadRequest) as caught:
        await load_weights(engine, WeightsParams(version=1, memory=handle))
    assert caught.value.field == "memory"
    assert "disk or http" in caught.value.hint


async def hold(engine: Engine, monkeypatch: pytest.MonkeyPatch, at: int = 4) -> threading.Event:
    """Stop the engine inside its decoding step number `at` until the event is set; returns it."""
    go, decode, steps = threading.Event(), engine.model.decode, []

    def held(*arguments: Any) -> torch.Tensor:
        steps.append(1)
        if len(steps) == at:
            assert go.wait(30)
        return decode(*arguments)

    monkeypatch.setattr(engine.model, "decode", held)
    return go


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


async def test_draining_lets_no_request_have_two_versions(
    engine: Engine, learner: Placed, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = await hold(engine, monkeypatch)
    many = asyncio.create_task(engine.generate(ask(n=6, max_tokens=12, ignore_eos=True)))  # more than there are slots
    await until(lambda: engine.stats["running"])
    offer = await learner.call("offer_weights", False)
    params = WeightsParams(version=1, memory=offer.handle, layout=offer.layout, switch="drain")
    switch = asyncio.create_task(load_weights(engine, params))
    await until(lambda: engine.stats["drains"])
    later = asyncio.create_task(engine.generate(ask(priority=-1, ignore_eos=True)))  # more urgent, and yet it waits
    await until(lambda: engine.stats["waiting"])
    go.set()
    assert (await switch).version == 1
    assert {int(v) for sample in (await many).samples for v in sample.versions} == {0}
    assert set((await later).samples[0].versions.tolist()) == {1}


async def test_draining_that_takes_too_long_names_its_phase_and_changes_nothing(
    engine: Engine, learner: Placed, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = await hold(engine, monkeypatch, at=1)
    running = asyncio.create_task(engine.generate(ask(max_tokens=20, ignore_eos=True)))
    await until(lambda: engine.stats["running"])
    offer = await learner.call("offer_weights", False)
    params = WeightsParams(version=1, memory=offer.handle, layout=offer.layout, switch="drain", switch_s=0.01)
    switch = asyncio.create_task(load_weights(engine, params))
    await until(lambda: engine.stats["drains"])
    asyncio.get_running_loop().call_later(0.02, go.set)  # by then it is too late, and the request still runs
    with pytest.raises(DeadlineExceeded) as caught:
        await switch
    assert caught.value.stage == "drain"
    assert engine.version == 0
    assert set((await running).samples[0].versions.tolist()) == {0}
    assert len((await engine.generate(ask())).samples) == 1  # and others begin again


@pytest.mark.parametrize("phase", ["write", "switch", "verify", "canary"])
async def test_a_phase_that_hangs_is_named(
    client: Client, engine: Engine, learner: Placed, phase: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    running: list[asyncio.Task[Any]] = []
    method = {"write": "offer_weights", "verify": "weight_checksums", "canary": "score"}.get(phase)
    if method:
        monkeypatch.setattr(MovedLearner, method, lambda *_: go.wait(60))
    else:
        go = await hold(engine, monkeypatch, at=1)  # the engine is in the middle of a step that does not end
        running.append(asyncio.create_task(engine.generate(ask(ignore_eos=True))))
        await until(lambda: engine.stats["running"])
    publisher = WeightPublisher(client, PROBES, transport=transports.make("shared_memory"), timeout_s=2.0)
    with pytest.raises(DeadlineExceeded) as caught:
        await publisher.publish(learner, 1)
    assert caught.value.stage == phase
    go.set()
    await asyncio.gather(*running)


async def test_a_body_that_was_damaged_on_its_way_is_refused(
    client: Client, engine: Engine, learner: Placed, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = weight_post.body

    def damaged(head: dict[str, Any], memory: torch.Tensor) -> Any:
        async def pieces() -> AsyncIterator[bytes]:
            async for number, piece in aenumerate(body(head, memory)()):
                yield piece if number != 1 else bytes([piece[0] ^ 1]) + piece[1:]

        return pieces

    monkeypatch.setattr(weight_post, "body", damaged)
    publisher = WeightPublisher(client, PROBES, transport=transports.make("http"))
    with pytest.raises(Conflict, match=r"checksum of backbone\.embeddings"):
        await publisher.publish(learner, 1)
    assert engine.version == 0


async def test_by_http_nobody_but_the_learner_reads_its_memory(
    client: Client, engine: Engine, learner: Placed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that program, learner and policy server may be on three machines."""
    monkeypatch.setattr(weight_memory, "duplicate", lambda handle: pytest.fail("shared memory was opened"))
    monkeypatch.setattr(weight_memory, "open_memory", lambda handle: pytest.fail("memory was opened by its handle"))
    publisher = WeightPublisher(client, PROBES, transport=transports.make("http"))
    await publisher.publish(learner, 1)
    held = weight_layout.checksums(checkpoint.state_tensors(engine.model))
    assert held == await learner.call("weight_checksums")


async def test_the_learner_shows_the_token_of_its_own_process(
    engine: Engine, tokenizer: Tokenizer, learner: Placed, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = build_app(engine, tokenizer, token="hush")
    async with await start(app) as served, Client(served.url, token="hush") as client:
        publisher = WeightPublisher(client, PROBES, transport=transports.make("http"))
        monkeypatch.delenv("PALAESTRA_TOKEN", raising=False)
        with pytest.raises(Unauthorized):
            await publisher.publish(learner, 1)
        assert engine.version == 0
        monkeypatch.setenv("PALAESTRA_TOKEN", "hush")
        await publisher.publish(learner, 1)
    assert engine.version == 1


async def aenumerate(pieces: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, bytes]]:
    number = 0
    async for piece in pieces:
        yield number, piece
        number += 1


@pytest.mark.parametrize("cut", [0, 3, 200, -1])
async def test_a_body_that_ends_early_changes_nothing(
    client: Client, engine: Engine, learner: Placed, cut: int
) -> None:
    offer, checksums = await learner.call("offer_weights", True), await learner.call("weight_checksums")
    head = {"version": 1, "layout": offer.layout, "nbytes": offer.handle.nbytes, "checksums": checksums}
    whole = b"".join([piece async for piece in weight_post.body(head, open_memory(offer.handle))()])

    async def pieces() -> AsyncIterator[bytes]:
        yield whole[:cut]

    with pytest.raises(BadRequest, match="ends"):
        await client.post("/weights/body", pieces)
    assert engine.version == 0


def test_no_transport_of_another_name() -> None:
    with pytest.raises(BadRequest, match="pigeon") as caught:
        transports.make("pigeon")
    assert "shared_memory" in caught.value.hint


async def test_shared_memory_leaves_nothing_behind_when_the_learner_is_killed(engine: Engine) -> None:
    """kill -9 of the side that wrote: the server goes on from the memory, and no name is left."""
    code = (
        "import dataclasses, json, sys\n"
        "from model.config import HybridConfig\n"
        "from model.stack import HybridModel\n"
        "from model import weight_layout\n"
        "from trainer.weight_ring import WeightRing\n"
        "model = HybridModel(HybridConfig.tiny(320), seed=5)\n"
        "ring = WeightRing(model, True)\n"
        "weight_layout.write(model, ring.free())\n"
        "offer, _ = ring.written()\n"
        "print(json.dumps(dataclasses.asdict(offer.handle)), flush=True)\n"
        "sys.stdin.read()\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None and child.stdout is not None
    try:
        handle = msgspec.json.decode(child.stdout.readline(), type=Handle)
        layout, _ = weight_layout.places_of(HybridModel(CONFIG, device=torch.device("meta")))
        await load_weights(engine, WeightsParams(version=1, memory=handle, layout=layout))
        assert "/dev/shm" not in Path(f"/proc/{child.pid}/maps").read_text(), "memory with a name outlives its maker"
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdin.close()
        child.stdout.close()
    assert len((await engine.generate(ask())).samples[0].token_ids) > 0
    held = weight_layout.checksums(checkpoint.state_tensors(engine.model))
    assert held == weight_layout.checksums(checkpoint.state_tensors(HybridModel(CONFIG, seed=5)))
    with pytest.raises(ValueError, match="cannot be opened"):
        open_memory(handle)


def test_closing_a_memory_takes_the_offer_back() -> None:
    for shared in (True, False):
        memory = WeightMemory(4096, shared)
        assert open_memory(memory.handle).shape == (4096,)
        memory.close()
        memory.close()
        with pytest.raises(ValueError, match=r"cannot be opened|in this process"):
            open_memory(memory.handle)


async def test_a_body_that_never_ends_is_given_up(
    client: Client, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weight_body, "RECEIVE_S", 0.2)

    async def pieces() -> AsyncIterator[bytes]:
        yield b"\x10\x00"
        await asyncio.Event().wait()

    with pytest.raises(SlowBody, match=r"did not arrive within 0\.2 s"):
        await client.post("/weights/body", pieces, timeout_s=60)
    assert engine.version == 0
