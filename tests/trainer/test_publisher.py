import math
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from gym_core.client import Client
from gym_core.errors import Conflict, DeadlineExceeded, Unavailable
from gym_core.serve import harden
from trainer.placement import LocalPlacement
from trainer.publisher import CanaryFault, PublishFault, WeightPublisher, probe_rows

CHECKSUMS = {"embeddings": "aa", "gate.bias": "bb"}
PROBES = [[1, 2, 3], [4, 5]]


class FakeLearner:
    def export(self, path: str) -> dict[str, str]:
        Path(path).write_bytes(b"weights")
        return CHECKSUMS

    def score(self, sequences: list[list[int]]) -> list[list[float]]:
        return [[0.0, *(-0.1 * token for token in ids[1:])] for ids in sequences]


def policy(reply_weights=None, reply_score=None) -> web.Application:
    """A policy server in five lines; a fault is a function that changes its reply."""

    async def weights(request: web.Request) -> web.Response:
        body = await request.json()
        assert Path(body["path"]).read_bytes() == b"weights"
        reply = {"version": body["version"], "checksums": dict(body["checksums"])}
        return web.json_response(reply_weights(reply) if reply_weights else reply)

    async def score(request: web.Request) -> web.Response:
        body = await request.json()
        scores = FakeLearner().score(body["token_ids"])
        reply = {"logprobs": scores, "decode_logprobs": [[*row] for row in scores], "policy_version": 3}
        return web.json_response(reply_score(reply) if reply_score else reply)

    app = web.Application()
    app.router.add_post("/weights", weights)
    app.router.add_post("/score", score)
    return harden(app, "policy")


@pytest.fixture
async def learner():
    placement = LocalPlacement()
    yield await placement.place(FakeLearner)
    await placement.close()


async def test_agreement_passes_and_leaves_no_file(connect, learner, tmp_path: Path) -> None:
    publisher = WeightPublisher(await connect(policy()), PROBES, directory=tmp_path)
    metrics = await publisher.publish(learner, 3)
    taken = {name: metrics.pop(name) for name in list(metrics) if name.endswith("_time")}
    assert taken == {f"publish/{phase}_time": seconds for phase, seconds in publisher.seconds.items()}
    assert taken.keys() == {"publish/write_time", "publish/switch_time", "publish/canary_time"}
    assert metrics == {
        "publish/canary_error": 1.0,
        "publish/canary_abs_diff_max": 0.0,
        "publish/canary_decode_error": 1.0,
        "publish/canary_decode_abs_diff_max": 0.0,
    }
    assert list(tmp_path.iterdir()) == []


def drop_buffer(reply: dict) -> dict:
    del reply["checksums"]["gate.bias"]
    return reply


def wrong_checksum(reply: dict) -> dict:
    reply["checksums"]["embeddings"] = "cc"
    return reply


def extra_tensor(reply: dict) -> dict:
    reply["checksums"]["D"] = "dd"
    return reply


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (drop_buffer, r"1 not loaded \(gate\.bias\)"),
        (wrong_checksum, r"1 different \(embeddings\)"),
        (extra_tensor, r"1 unknown to the learner \(D\)"),
        (lambda reply: {**reply, "version": 2}, "version 2 instead of 3"),
    ],
)
async def test_weights_that_did_not_arrive_are_a_typed_error(connect, learner, tmp_path: Path, fault, says) -> None:
    publisher = WeightPublisher(await connect(policy(reply_weights=fault)), PROBES, directory=tmp_path)
    with pytest.raises(PublishFault, match=says):
        await publisher.publish(learner, 3)
    assert list(tmp_path.iterdir()) == [], "the file goes with the fault"


def shifted(by: float):
    def fault(reply: dict) -> dict:
        reply["logprobs"][0][1] += by
        return reply

    return fault


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (shifted(0.1), "canary error is 1.035"),  # one of three tokens off by exp(0.1): 1 + 0.105 / 3
        (lambda reply: {**reply, "policy_version": 2}, "version 2, 3 was published"),
        (lambda reply: {**reply, "logprobs": reply["logprobs"][:1]}, "lengths"),
    ],
)
async def test_a_server_that_computes_something_else_is_caught(connect, learner, fault, says) -> None:
    publisher = WeightPublisher(await connect(policy(reply_score=fault)), PROBES)
    with pytest.raises(CanaryFault, match=says):
        await publisher.publish(learner, 3)
    await publisher.close()


async def test_the_gate_is_a_mean_of_factors(connect, learner) -> None:
    client = await connect(policy(reply_score=shifted(0.1)))
    publisher = WeightPublisher(client, PROBES, gate=1.04)
    metrics = await publisher.publish(learner, 3)
    assert metrics["publish/canary_error"] == pytest.approx((2 + math.exp(0.1)) / 3)
    await publisher.close()


async def test_a_refusal_comes_through_as_it_is(connect, learner) -> None:
    async def refuse(_: web.Request) -> web.Response:
        raise Conflict("checksum of `embeddings` differs", server="policy")

    app = web.Application()
    app.router.add_post("/weights", refuse)
    publisher = WeightPublisher(await connect(harden(app, "policy")), PROBES)
    with pytest.raises(Conflict, match="embeddings"):
        await publisher.publish(learner, 3)
    await publisher.close()


async def test_a_dead_or_silent_server_is_a_typed_error_in_time(connect, learner) -> None:
    import asyncio

    never = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        await never.wait()
        return web.Response()

    app = web.Application()
    app.router.add_post("/weights", hang)
    publisher = WeightPublisher(await connect(app), PROBES, timeout_s=0.2)
    with pytest.raises(DeadlineExceeded):
        await publisher.publish(learner, 3)
    never.set()
    await publisher.close()
    async with Client("http://127.0.0.1:1", retries=0) as nobody:
        lonely = WeightPublisher(nobody, PROBES)
        with pytest.raises(Unavailable):
            await lonely.publish(learner, 3)
        await lonely.close()


def test_probes_are_fixed_and_within_the_vocabulary() -> None:
    probes = probe_rows(50, count=3, length=30)
    assert [len(probe) for probe in probes] == [25, 28, 30]
    assert all(0 <= token < 50 for probe in probes for token in probe)
    assert probes == probe_rows(50, count=3, length=30) != probe_rows(50, count=3, length=30, seed=1)
    assert msgspec.json.decode(msgspec.json.encode(probes)) == probes
