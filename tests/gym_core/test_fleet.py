"""Several processes of one service: whoever is asked, the one that holds the session answers; here in one loop."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gym_core import headers
from gym_core.client import Client
from gym_core.errors import BadRequest, BadSession, Unauthorized, Unavailable
from gym_core.fleet import FORWARDED, FleetPlace
from gym_core.loading import load_file
from gym_core.registry import LoadedEnvironment
from gym_core.reply import text_output
from gym_core.serve import Served, start
from gym_core.server import SERVICES, EnvironmentServiceConfig, build_app

samples = load_file(Path(__file__).with_name("samples.py"))
SIZE = 3


class Together:
    """Processes of a fleet, each with an address of its own so that a test can choose whom it asks."""

    def __init__(self) -> None:
        self.clients: list[Client] = []
        self.served: list[Served] = []
        self.apps: list[Any] = []

    def count(self, name: str = "counter") -> list[int]:
        return [len(app[SERVICES][name].sessions) for app in self.apps]


@asynccontextmanager
async def fleet(*names: str, token: str | None = None) -> AsyncIterator[Together]:
    together = Together()
    # a socket's path has a hundred bytes at most, a test's folder may be longer
    with tempfile.TemporaryDirectory(prefix="fleet-") as folder:
        async with AsyncExitStack() as stack:
            for slot in range(SIZE):
                place = FleetPlace(slot, SIZE, Path(folder))
                config = EnvironmentServiceConfig(session_secret="shared", token=token)
                environments = [LoadedEnvironment.of(getattr(samples, name)) for name in names or ("Counter",)]
                app = build_app(environments, config, fleet=place)
                served = await stack.enter_async_context(await start(app, shared_with=place.socket))
                together.apps.append(app)
                together.served.append(served)
                client = Client(served.url, retries=0, token=token)
                together.clients.append(await stack.enter_async_context(client))
            yield together


async def row_of(client: Client, base: str = "") -> dict[str, Any]:
    return (await client.post_json(f"{base}/tasks", {"seed": 1, "count": 1}))["tasks"][0]


async def seed(client: Client, key: str = "", base: str = "") -> str:
    more = {headers.IDEMPOTENCY: key} if key else {}
    return (await client.post_json(f"{base}/seed_session", await row_of(client, base), headers=more))["session_id"]


async def test_a_session_is_used_through_any_process() -> None:
    async with fleet() as together:
        first, second, third = together.clients
        session = await seed(first)
        worker = session.split(".")[0]
        said = [
            (await client.post("/add", {"n": 1}, headers={headers.SESSION: session})).body
            for client in (first, second, third, second)
        ]
        assert said == [b"1", b"2", b"3", b"4"]
        assert sum(together.count()) == 1 and together.count()[int(worker[1:])] == 1
        body = {"session_id": session, "response": {"output": text_output("x")}}
        assert (await third.post_json("/verify", body))["verdict"]["reward"] == 0.0
        await second.post("/close_session", {"session_id": session})
        assert together.count() == [0, 0, 0]
        for client in together.clients:
            with pytest.raises(BadSession, match="is closed"):
                await client.post("/add", {"n": 1}, headers={headers.SESSION: session})


async def test_replies_come_back_as_they_were() -> None:
    async with fleet() as together:
        session = await seed(together.clients[0])
        replies = [
            await client.post("/add", {"n": -1}, headers={headers.SESSION: session}, check=False)
            for client in together.clients
        ]
        assert {reply.status for reply in replies} == {422}
        assert {reply.headers[headers.TOOL] for reply in replies} == {"fault"}
        assert {reply.body for reply in replies} == {b"n must not be negative"}
        traced = await together.clients[1].post(
            "/add", {"n": 1}, headers={headers.SESSION: session, headers.TRACE: "t-1"}
        )
        assert traced.headers[headers.TRACE] == "t-1"


async def test_the_same_key_meets_the_same_session_wherever_it_is_sent() -> None:
    async with fleet() as together:
        sessions = await asyncio.gather(*(seed(client, "key") for client in together.clients * 2))
        assert len(set(sessions)) == 1 and sum(together.count()) == 1


async def test_the_cookie_and_the_name_route_as_well() -> None:
    async with fleet("Counter", "Sums") as together:
        first, second, _ = together.clients
        session = await seed(first, base="/counter")
        cookie = {"Cookie": f"palaestra_session_counter={session}"}
        assert (await second.post("/counter/add", {"n": 2}, headers=cookie)).body == b"2"
        assert (await second.post("/counter/close_session", headers=cookie)).status == 200
        assert together.count() == [0, 0, 0]


@pytest.mark.parametrize("made_up", ["w1.abc.def", "w2." + "0" * 32 + ".x", "nonsense", "w9.a.b", "ü.ü"])
async def test_a_forged_id_leads_nowhere(made_up: str) -> None:
    async with fleet() as together:
        for client in together.clients:
            with pytest.raises(BadSession, match="is no session"):
                await client.post("/close_session", {"session_id": made_up})


async def test_bodies_that_are_wrong_are_refused_where_they_arrive() -> None:
    async with fleet() as together:
        for body in (b"{", b'{"session_id": 5}', b"[]"):
            with pytest.raises(BadRequest):
                await together.clients[0].post("/verify", body)


async def test_members_of_a_group_meet() -> None:
    async with fleet("Longest") as together:
        row = await row_of(together.clients[0])

        def member(number: int) -> dict[str, Any]:
            about = {"group_id": "g", "group_size": SIZE, "rollout_id": f"r{number}"}
            return {**row, "response": {"output": text_output("x" * number)}, "palaestra": about}

        await asyncio.gather(*(client.post_json("/verify", member(n)) for n, client in enumerate(together.clients)))
        for number, client in enumerate(together.clients):
            asked = {"group_id": "g", "rollout_id": f"r{number}", "wait_s": 20}
            reply = await client.post_json("/group_verdict", asked)
            assert reply["verdict"]["reward"] == float(number == SIZE - 1)


async def test_a_process_that_is_gone_is_a_typed_error_and_new_sessions_are_made() -> None:
    async with fleet() as together:
        sessions = [await seed(client) for client in together.clients]
        gone = int(sessions[2].split(".")[0][1:])
        await together.served[gone].close()
        others = [client for slot, client in enumerate(together.clients) if slot != gone]
        with pytest.raises(Unavailable, match=f"process that holds this session \\({gone}\\) is not there"):
            await others[0].post("/add", {"n": 1}, headers={headers.SESSION: sessions[2]})
        for number in range(6):  # keys that lead to the one that is gone as well
            assert await seed(others[number % 2], f"key{number}")


async def test_a_slot_that_this_fleet_no_longer_has_is_refused() -> None:
    async with fleet() as together:
        from gym_core.session_ids import SessionIds

        session = SessionIds(b"shared", "counter", "w7").make()
        with pytest.raises(BadSession, match="belongs to worker 'w7'"):
            await together.clients[0].post("/add", {"n": 1}, headers={headers.SESSION: session})


async def test_a_token_is_asked_for_once_and_travels_on() -> None:
    async with fleet(token="t0ken") as together:
        session = await seed(together.clients[0])
        for client in together.clients:
            assert (await client.post("/add", {"n": 1}, headers={headers.SESSION: session})).status == 200
        async with Client(together.served[1].url, retries=0) as stranger:
            with pytest.raises(Unauthorized):
                await stranger.post("/add", {"n": 1}, headers={headers.SESSION: session, FORWARDED: "w0"})


def test_a_key_leads_to_the_same_slot_in_every_process() -> None:
    places = [FleetPlace(slot, 4, Path("x")) for slot in range(4)]
    for key in ("a", "b", "ü", "key-17"):
        assert len({place.slot_for(key) for place in places}) == 1
    assert {places[0].slot_for(str(number)) for number in range(50)} == {0, 1, 2, 3}
    assert [places[0].slot_of(worker) for worker in ("w0", "w3", "w4", "x", "w", "w99999999999")] == [0, 3, *[None] * 4]


async def test_metrics_are_those_of_all_processes_whoever_is_asked() -> None:
    async with fleet(token="t0ken") as together:
        sessions = [await seed(client) for client in together.clients]
        for session in sessions:
            await together.clients[0].post("/add", {"n": 1}, headers={headers.SESSION: session})
        for client in together.clients:
            said = (await client.get("/metrics")).text.splitlines()
            assert 'palaestra_sessions_open{environment="counter"} 3.0' in said
            assert 'palaestra_tool_calls_total{answer="ok",environment="counter"} 3.0' in said
            assert [line for line in said if line.startswith("palaestra_process_up")] == [
                f'palaestra_process_up{{process="w{slot}"}} 1.0' for slot in range(SIZE)
            ]
        async with Client(together.served[1].url, retries=0) as stranger:
            with pytest.raises(Unauthorized):
                await stranger.get("/metrics")


async def test_metrics_go_on_without_a_process_that_is_gone() -> None:
    async with fleet() as together:
        await together.served[2].close()
        said = (await together.clients[0].get("/metrics")).text.splitlines()
        assert [line[-3:] for line in said if line.startswith("palaestra_process_up")] == ["1.0", "1.0", "0.0"]
