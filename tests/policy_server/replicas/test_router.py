"""Three replicas as processes, one of which is killed, stopped, slow to take weights, or disagrees."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import struct
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import aiohttp
import msgspec
import pytest

from gym_core.client import Client
from gym_core.errors import BadRequest, Conflict, TooLarge, Unavailable
from gym_core.serve import start
from model.weight_memory import WeightMemory
from policy_server.replicas import engine_metrics
from policy_server.replicas import router as router_module
from policy_server.replicas.pool import Pool, Replica
from policy_server.replicas.router import Router
from policy_server.replicas.together import Together
from policy_server.weights import WeightsParams

STUB = Path(__file__).with_name("replica_stub.py")
ROOT = Path(__file__).resolve().parents[3]


class Child:
    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self.process, self.url = process, url

    def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()

    async def wait(self) -> None:
        await self.process.wait()


async def spawn(number: int) -> Child:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(STUB), str(number), str(os.getpid()), stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None
    return Child(process, json.loads(await process.stdout.readline())["url"])


@pytest.fixture
async def router() -> Router:
    return Router(3, spawn, health_s=5.0, every_s=0.05, publish_s=6.0)


@pytest.fixture
async def client(router: Router) -> AsyncIterator[Client]:
    async with await start(router.app()) as served, Client(served.url, retries=0) as client:
        yield client


def pid(router: Router, number: int) -> int:
    process = router.pool.replicas[number].process
    assert isinstance(process, Child)
    return process.process.pid


async def ask(client: Client, key: str = "", **body: Any) -> dict[str, Any]:
    headers = {"Idempotency-Key": key} if key else {}
    answer: dict[str, Any] = await client.post_json("/v1/completions", body, headers=headers)
    return answer


async def until(condition: Any) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


def publication(version: int, tmp_path: Path) -> dict[str, Any]:
    file = tmp_path / "weights.safetensors"
    file.write_bytes(b"weights")
    return {"version": version, "path": str(file)}


async def test_turns_of_a_rollout_stay_together_and_rollouts_spread(client: Client) -> None:
    at = {
        rollout: {(await ask(client, f"{rollout}-{turn}"))["replica"] for turn in range(3)}
        for rollout in (f"run/{number}" for number in range(12))
    }
    assert all(len(replicas) == 1 for replicas in at.values())
    assert len(set.union(*at.values())) == 3
    metrics = (await client.get("/metrics")).body.decode()
    assert 'palaestra_replica_up{replica="2"} 1.0' in metrics
    assert 'palaestra_replica_requests{replica="0"}' in metrics


async def test_the_engines_metrics_are_summed_and_outlive_a_replica(
    client: Client, router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    """10 + 20 + 30 tokens; the second counted 20 before it ended, and as many after it had come back."""
    monkeypatch.setattr(engine_metrics, "WITHIN_S", 60.0)

    async def told() -> list[str]:
        return [
            line for line in (await client.get("/metrics")).text.splitlines() if line.startswith("palaestra_policy")
        ]

    assert await told() == ["palaestra_policy_sampled_tokens_total 60.0", "palaestra_policy_running 6.0"]
    victim = router.pool.replicas[1]
    victim.up = False
    assert await told() == ["palaestra_policy_sampled_tokens_total 60.0", "palaestra_policy_running 4.0"]
    victim.up = True
    os.kill(pid(router, 1), signal.SIGKILL)
    await until(lambda: victim.up and victim.num_restarts == 1)
    assert await told() == ["palaestra_policy_sampled_tokens_total 80.0", "palaestra_policy_running 6.0"]


async def test_a_killed_replica_loses_nothing_and_comes_back_with_the_current_weights(
    client: Client, router: Router, tmp_path: Path
) -> None:
    await client.post_json("/weights", publication(3, tmp_path))
    (tmp_path / "weights.safetensors").unlink()  # as publishers do: the router keeps it open
    victim = router.pool.replicas[1]
    key = next(f"r{i}" for i in range(100) if router.pool.choose(f"r{i}", set()) is victim)
    waiting = asyncio.create_task(ask(client, f"{key}-0", hang_on=1))
    await until(lambda: victim.num_running)
    os.kill(pid(router, 1), signal.SIGKILL)
    assert (await waiting)["replica"] != 1  # nothing of the answer was passed on, so it was asked again elsewhere
    await until(lambda: victim.up and victim.num_restarts == 1)
    assert await ask(client, f"{key}-1") == {"replica": 1, "version": 3}


async def test_a_stopped_replica_does_not_stall_the_others_and_is_replaced(client: Client, router: Router) -> None:
    os.kill(pid(router, 2), signal.SIGSTOP)
    answers = await asyncio.gather(*(ask(client, f"r{number}-0") for number in range(12)))
    assert {answer["replica"] for answer in answers} <= {0, 1, 2}
    await until(lambda: router.pool.replicas[2].num_restarts >= 1 and router.pool.replicas[2].up)


async def test_a_stream_that_has_begun_ends_with_a_typed_error(client: Client, router: Router) -> None:
    body = {"stream": True}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{client.base_url}/v1/completions", json=body) as answer,
    ):
        number = json.loads((await answer.content.readuntil(b"\n\n"))[6:])["replica"]
        os.kill(pid(router, number), signal.SIGKILL)
        async with asyncio.timeout(30):
            rest = await answer.content.read()
    assert json.loads(rest[6:])["error"]["code"] == "policy_fault"


async def test_a_replica_that_answers_nothing_is_not_waited_for_beyond_the_deadline(
    client: Client, router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(router_module, "_GRACE_S", 0.0)
    key = next(f"r{i}" for i in range(100) if router.pool.choose(f"r{i}", set()) is router.pool.replicas[0])
    async with aiohttp.ClientSession() as session:

        async def asked(body: dict[str, Any], seconds: str) -> tuple[int, bytes]:
            told = {"x-palaestra-deadline": seconds, "Idempotency-Key": f"{key}-0"}
            async with session.post(f"{client.base_url}/v1/completions", json=body, headers=told) as answer:
                return answer.status, await answer.read()

        async with asyncio.timeout(60):
            whole, stream = await asyncio.gather(asked({"hang_on": 0}, "0.2"), asked({"stream": True}, "6"))
    assert whole[0] == 504 and json.loads(whole[1])["error"]["code"] == "deadline_exceeded"
    begun, end = stream[1].split(b"\n\n")[:2]
    assert stream[0] == 200 and json.loads(begun[6:]) == {"replica": 0}
    assert json.loads(end[6:])["error"]["code"] == "deadline_exceeded"
    assert router.pool.replicas[0].num_restarts == 0  # it does as it was asked, only for too long


async def test_a_replica_that_does_not_take_new_weights_is_evicted_and_gets_them_later(
    router: Router, tmp_path: Path
) -> None:
    router._together.publish_s = 5.0
    async with await start(router.app()) as served, Client(served.url, retries=0) as client:
        slow = router.pool.replicas[1]
        assert (await client.post_json("/weights", publication(66, tmp_path)))["version"] == 66
        assert {replica.version for replica in router.pool.replicas if replica is not slow} == {66}
        await until(lambda: slow.num_restarts)
        assert (await client.post_json("/weights", publication(67, tmp_path)))["version"] == 67
        await until(lambda: slow.up and slow.version == 67)


async def test_a_publisher_who_hangs_up_leaves_no_mixed_versions(
    client: Client, router: Router, tmp_path: Path
) -> None:
    await client.post_json("/weights", publication(3, tmp_path))
    slow, others = router.pool.replicas[1], [router.pool.replicas[0], router.pool.replicas[2]]
    publishing = asyncio.create_task(client.post_json("/weights", publication(66, tmp_path)))  # one never answers it
    await until(lambda: {replica.version for replica in others} == {66})
    publishing.cancel()
    await asyncio.gather(publishing, return_exceptions=True)
    await until(lambda: slow.num_restarts)  # given up, as if its publisher were there
    assert {replica.version for replica in router.pool.replicas if replica.up} == {66}
    assert (await client.post_json("/weights", publication(67, tmp_path)))["version"] == 67
    await until(lambda: slow.up and slow.version == 67)


async def test_when_all_are_gone_at_once_what_they_were_asked_waits_for_one_to_come_back(
    client: Client, router: Router, tmp_path: Path
) -> None:
    await client.post_json("/weights", publication(4, tmp_path))
    waiting = [asyncio.create_task(ask(client, f"r{n}-0", hang_on=n % 3)) for n in range(9)]
    await until(lambda: sum(replica.num_requests for replica in router.pool.replicas) >= 9)
    for number in range(3):
        os.kill(pid(router, number), signal.SIGKILL)
    again = asyncio.create_task(client.post_json("/weights", publication(5, tmp_path)))
    # A request may hang once more, on the replica that its body names; it is never lost with one.
    done, _ = await asyncio.wait(waiting, timeout=60, return_when="FIRST_COMPLETED")
    assert done and all(task.result()["version"] in (4, 5) for task in done)
    assert (await again)["version"] == 5
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_request_that_ends_every_replica_is_not_passed_on_for_ever(client: Client, router: Router) -> None:
    with pytest.raises(Unavailable):
        await ask(client, "r-0", poison=True)
    await until(lambda: all(replica.up for replica in router.pool.replicas))
    # each of three once and one once more; a slow machine may give one up that was only late
    assert 4 <= sum(replica.num_restarts for replica in router.pool.replicas) <= 8
    assert await ask(client, "r-1") != {}


async def test_half_an_answer_is_asked_for_again_elsewhere(client: Client, router: Router) -> None:
    victim = router.pool.replicas[0]
    key = next(f"r{i}" for i in range(100) if router.pool.choose(f"r{i}", set()) is victim)
    waiting = asyncio.create_task(ask(client, f"{key}-0", half_on=0))
    await until(lambda: victim.num_running)
    os.kill(pid(router, 0), signal.SIGKILL)
    assert (await waiting)["replica"] in (1, 2)


async def test_a_replica_that_comes_back_must_agree_with_the_others_before_it_serves(
    client: Client, router: Router, tmp_path: Path
) -> None:
    for version in (3, 78):  # at 78 a stub computes with how many publications it has seen
        await client.post_json("/weights", publication(version, tmp_path))
    assert (await client.post_json("/score", {"token_ids": [[1, 2]]}))["logprobs"] == [[0.0, -3.0]]
    late = router.pool.replicas[1]
    os.kill(pid(router, 1), signal.SIGKILL)
    await until(lambda: late.num_restarts >= 3)
    assert not late.up
    assert {(await ask(client, f"r{n}-0"))["replica"] for n in range(12)} == {0, 2}
    await client.post_json("/weights", publication(79, tmp_path))
    await until(lambda: late.up and late.version == 79)


async def test_a_replica_that_does_not_see_our_memory_gets_the_bytes(client: Client, router: Router) -> None:
    memory = WeightMemory(3 << 20, shared=True)
    order = {"version": 6, "memory": memory.handle, "checksums": {"w": "00000000"}}
    assert (await client.post_json("/weights", order))["version"] == 6
    memory.close()
    assert [replica.version for replica in router.pool.replicas] == [6, 6, 6]
    os.kill(pid(router, 2), signal.SIGKILL)
    await until(lambda: router.pool.replicas[2].num_restarts == 1 and router.pool.replicas[2].up)
    assert router.pool.replicas[2].version == 6


async def test_weights_that_nobody_takes_are_refused_and_nobody_is_evicted(
    client: Client, router: Router, tmp_path: Path
) -> None:
    await client.post_json("/weights", publication(5, tmp_path))
    with pytest.raises(Conflict, match="only go up"):
        await client.post_json("/weights", publication(5, tmp_path))
    assert [replica.num_restarts for replica in router.pool.replicas] == [0, 0, 0]
    memory = WeightMemory(64, shared=False)
    with pytest.raises(BadRequest, match="processes of their own"):
        await client.post_json("/weights", {"version": 6, "memory": memory.handle})
    memory.close()


async def test_more_bytes_than_the_model_has_are_refused_before_they_are_sent(client: Client) -> None:
    head = msgspec.json.encode({"version": 1, "nbytes": 2001, "checksums": {"a": "b"}})
    with pytest.raises(TooLarge, match="2001 bytes of weights for a model of 1000"):
        await client.post("/weights/body", struct.pack("<I", len(head)) + head)


async def test_a_canary_asks_every_replica(client: Client, tmp_path: Path) -> None:
    await client.post_json("/weights", publication(5, tmp_path))
    assert (await client.post_json("/score", {"token_ids": [[1, 2]]}))["policy_version"] == 5
    await client.post_json("/weights", publication(77, tmp_path))
    with pytest.raises(Conflict, match="replica 1 are not those of replica 0"):
        await client.post_json("/score", {"token_ids": [[1, 2]]})


async def test_only_the_keys_of_a_replica_that_goes_move() -> None:
    async def welcome(_: Replica) -> None: ...

    pool = Pool(4, spawn, welcome)
    for replica in pool.replicas:
        replica.up = True
    keys = [f"rollout-{number}" for number in range(400)]
    before = {key: pool.choose(key, set()) for key in keys}
    pool.replicas[2].up = False
    moved = {key for key in keys if pool.choose(key, set()) is not before[key]}
    assert moved == {key for key in keys if before[key] is pool.replicas[2]}
    assert 60 < len(moved) < 140  # a quarter
    assert pool.choose("", {0, 1, 3}) is None


async def test_one_that_does_not_start_leaves_none_of_the_others_behind() -> None:
    made: list[Child] = []

    async def first_fails(number: int) -> Child:
        if number == 0:
            raise Unavailable("it ended at once", stage="start")
        made.append(await spawn(number))
        return made[-1]

    with pytest.raises(Unavailable, match="it ended at once"):
        await Pool(2, first_fails, AsyncMock()).start()
    assert [child.process.returncode for child in made] == [-signal.SIGKILL]


async def test_a_publication_that_the_end_of_the_server_breaks_off_keeps_nothing_open(tmp_path: Path) -> None:
    asked = asyncio.Event()

    class Silent(Client):
        async def post_json(self, *_: Any, **__: Any) -> Any:
            asked.set()
            await asyncio.Event().wait()

    def num_open() -> int:
        links = (Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd"))
        return sum(link.is_symlink() and os.readlink(link) == str(weights) for link in links)

    weights = tmp_path / "weights"
    weights.write_bytes(b"x")
    pool, together = Pool(1, spawn, AsyncMock()), Together(publish_s=60.0)
    pool.replicas[0].up, pool.replicas[0].client = True, Silent("http://127.0.0.1:9")
    publishing = asyncio.create_task(together.publish(pool, WeightsParams(version=1, path=str(weights))))
    await asked.wait()
    assert num_open() == 1
    publishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await publishing
    assert num_open() == 1  # it goes on
    await together.close()
    assert num_open() == 0
