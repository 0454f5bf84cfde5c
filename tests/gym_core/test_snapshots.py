"""Sessions that outlive their server: what was acknowledged is there again, what was closed never is."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from gym_core import headers
from gym_core.client import Client
from gym_core.environment import Environment, Reply, Session, Task, tool
from gym_core.errors import BadRequest, BadSession, Conflict
from gym_core.registry import LoadedEnvironment
from gym_core.reply import text_output
from gym_core.serve import start
from gym_core.server import SERVICES, EnvironmentServiceConfig, build_app
from gym_core.snapshots import Snapshots, state_type


class Purse(msgspec.Struct):
    """The declared state."""

    coins: int = 0
    spent: list[str] = []


class Shop(Environment):
    """Coins are put in and drawn; the state is declared by `setup`."""

    name = "shop"
    closed: ClassVar[list[str]] = []

    def make(self, rng: random.Random, level: int) -> dict[str, Any]:
        return {"prompt": f"save {rng.randrange(10**6)}", "hidden_goal": rng.randrange(100)}

    def setup(self, task: Task) -> Purse:
        return Purse(coins=task["hidden_goal"])

    def close(self, session: Session) -> None:
        self.closed.append(session.session_id)

    @tool
    def put(self, session: Session, n: int) -> str:
        """Put coins in."""
        session.state.coins += n
        session.state.spent.append(str(n))
        return str(session.state.coins)

    @tool
    def draw(self, session: Session) -> str:
        """A number."""
        return str(session.rng.randrange(10**9))

    @tool
    def spoil(self, session: Session) -> str:
        """Something that no snapshot can hold."""
        session.state.spent.append(object())
        return "spoilt"

    def verify(self, task: Task, session: Session, reply: Reply) -> float:
        return float(session.state.coins == task["hidden_goal"] + 5 and len(session.calls) >= 2)


@dataclass(slots=True)
class Plain:
    coins: int = 0


class Second(Shop):
    name = "second"
    version = "2.0.0"


@pytest.fixture(autouse=True)
def closed() -> list[str]:
    Shop.closed.clear()
    return Shop.closed


@asynccontextmanager
async def shop(folder: Path, cls: type[Environment] = Shop, **options: Any) -> AsyncIterator[Client]:
    app = build_app([LoadedEnvironment.of(cls)], EnvironmentServiceConfig(state_dir=str(folder), **options))
    async with await start(app) as served, Client(served.url, retries=0) as client:
        client.services = app[SERVICES]  # type: ignore[attr-defined]
        yield client


async def seed(client: Client, key: str = "") -> tuple[str, dict[str, Any]]:
    row = (await client.post_json("/tasks", {"seed": 1, "count": 1}))["tasks"][0]
    more = {headers.IDEMPOTENCY: key} if key else {}
    return (await client.post_json("/seed_session", row, headers=more))["session_id"], row


async def call(client: Client, session: str, name: str, **arguments: Any) -> str:
    reply = await client.post(f"/{name}", arguments, headers={headers.SESSION: session})
    return reply.body.decode()


async def verdict(client: Client, session: str) -> float:
    body = {"session_id": session, "response": {"output": text_output("done")}}
    return (await client.post_json("/verify", body))["reward"]


async def test_a_session_on_disk_ends_when_its_caller_says_so_and_not_with_its_verdict(
    tmp_path: Path, closed: list[str]
) -> None:
    async with shop(tmp_path) as client:
        session, _ = await seed(client)
        asked = {headers.PREFER: f"{headers.MINIMAL}, {headers.CLOSE}", headers.IDEMPOTENCY: "k"}
        body = {"session_id": session, "response": {"output": text_output("done")}}
        assert headers.APPLIED not in (await client.post("/verify", body, headers=asked)).headers
        assert closed == []
        await client.post("/close_session", {"session_id": session})
    assert closed == [session]


async def test_a_restarted_server_goes_on_where_it_was(tmp_path: Path, closed: list[str]) -> None:
    async with shop(tmp_path) as client:
        session, row = await seed(client, "key")
        await call(client, session, "put", n=5)
        first = await call(client, session, "draw")
        other, _ = await seed(client)
    assert closed == [], "sessions that are kept are not closed"
    async with shop(tmp_path) as client:
        second = await call(client, session, "draw")
        assert await verdict(client, session) == 1.0, "state, calls and hidden fields are those of before"
        again = await client.post_json("/seed_session", row, headers={headers.IDEMPOTENCY: "key"})
        assert again["session_id"] == session
        await client.post("/close_session", {"session_id": session})
    assert closed == [session]
    async with shop(tmp_path) as client:
        with pytest.raises(BadSession, match="is closed"):
            await call(client, session, "draw")
        await call(client, other, "draw")
    # the generator went on: the same two draws as in one server's life
    async with shop(tmp_path / "elsewhere") as client:
        fresh, _ = await seed(client)
        await call(client, fresh, "put", n=5)
        assert [await call(client, fresh, "draw") for _ in range(2)] == [first, second]


class Talker(Shop):
    """A shop with a customer who counts what was said."""

    name = "talker"

    def user(self, task: Task, session: Session, reply: Reply) -> str:
        return f"{len(session.turns) + 1}: you said {reply.text}"


async def test_a_dialogue_goes_on_where_it_was(tmp_path: Path) -> None:
    async def said(client: Client, session: str, words: str) -> Any:
        body = {"response": {"output": text_output(words)}}
        return (await client.post("/user_turn", body, headers={headers.SESSION: session})).json()

    async with shop(tmp_path, Talker) as client:
        session, _ = await seed(client)
        assert await said(client, session, "good day") == {"message": "1: you said good day", "turn": 1}
    async with shop(tmp_path, Talker) as client:
        assert await said(client, session, "again") == {"message": "2: you said again", "turn": 2}


async def test_what_was_answered_survives_even_a_kill(tmp_path: Path) -> None:
    """Nothing is written at the end: the files after a call are all that a killed server leaves."""
    async with shop(tmp_path) as client:
        session, _ = await seed(client)
        await call(client, session, "put", n=5)
        left = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        await call(client, session, "put", n=100)
    for path in tmp_path.rglob("*.session"):
        path.unlink()
    for path, data in left.items():
        path.write_bytes(data)
    async with shop(tmp_path) as client:
        await call(client, session, "draw")
        assert await verdict(client, session) == 1.0


async def test_idle_time_goes_on_while_no_server_runs(tmp_path: Path, closed: list[str], monkeypatch: Any) -> None:
    async with shop(tmp_path) as client:
        session, _ = await seed(client)
    import time

    real = time.time
    monkeypatch.setattr("gym_core.sessions.time.time", lambda: real() + 901)
    async with shop(tmp_path) as client:
        sessions = client.services["shop"].sessions  # type: ignore[attr-defined]
        async with asyncio.timeout(10):
            while sessions._restoring is not None:
                await asyncio.sleep(0.001)
        assert await sessions.sweep() == 1
        with pytest.raises(BadSession, match="idle for 900 s"):
            await call(client, session, "draw")
    assert closed == [session]


async def test_a_state_that_cannot_be_kept_never_comes_back_as_it_was_before(tmp_path: Path, closed: list[str]) -> None:
    async with shop(tmp_path) as client:
        session, _ = await seed(client)
        await call(client, session, "put", n=5)
        assert await call(client, session, "spoil") == "spoilt"
        assert await call(client, session, "put", n=1), "in this server it goes on"
    assert closed == [session], "what is not kept is closed"
    async with shop(tmp_path) as client:
        with pytest.raises(BadSession):
            await call(client, session, "draw")


async def test_a_full_disk_forgets_the_snapshot_and_not_the_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shop(tmp_path) as client:
        session, _ = await seed(client)

        def full(self: Path, data: bytes) -> int:
            with self.open("wb") as file:
                file.write(data[:10])
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "write_bytes", full)
        await call(client, session, "put", n=5)
        assert not any(tmp_path.rglob("*.session")) and not any(tmp_path.rglob("*.partial"))
        monkeypatch.undo()
        await call(client, session, "draw")
        assert any(tmp_path.rglob("*.session")), "kept again once there is room"


@pytest.mark.parametrize("damage", ["cut", "empty", "noise", "other state"])
async def test_a_damaged_snapshot_is_forgotten_and_others_go_on(tmp_path: Path, damage: str) -> None:
    async with shop(tmp_path) as client:
        session, _ = await seed(client)
        other, _ = await seed(client)
    path = next(path for path in tmp_path.rglob("*.session") if path.stem == session.split(".")[1])
    data = path.read_bytes()
    changed = msgspec.msgpack.encode({**msgspec.msgpack.decode(data), "state": {"coins": "many"}})
    path.write_bytes({"cut": data[:-5], "empty": b"", "noise": os.urandom(50), "other state": changed}[damage])
    async with shop(tmp_path) as client:
        with pytest.raises(BadSession):
            await call(client, session, "draw")
        assert await call(client, other, "draw")
    assert not path.exists()


async def test_a_task_that_can_no_longer_be_made_ends_that_session_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shop(tmp_path) as client:
        session, _ = await seed(client)

    def broken(self: Shop, rng: random.Random, level: int) -> dict[str, Any]:
        raise KeyError("a table that is gone")

    monkeypatch.setattr(Shop, "make", broken)
    async with shop(tmp_path) as client:
        with pytest.raises(BadSession):
            await call(client, session, "draw")
    assert not any(tmp_path.rglob("*.session"))


async def test_sessions_of_another_version_are_not_continued(tmp_path: Path) -> None:
    async with shop(tmp_path) as client:
        session, _ = await seed(client)

    class Newer(Shop):
        version = "9.0.0"

    async with shop(tmp_path, Newer) as client:
        with pytest.raises(BadSession):
            await call(client, session, "draw")


async def test_two_servers_do_not_share_a_folder_as_one_worker(tmp_path: Path) -> None:
    async with shop(tmp_path):
        with pytest.raises(Conflict, match="keeps its sessions in"):
            async with shop(tmp_path):
                pytest.fail("the second server started")
        async with shop(tmp_path, worker="w1") as second:
            await seed(second)
    async with shop(tmp_path):
        pass


async def test_a_folder_that_cannot_be_made_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadRequest, match="cannot keep state in"):
        async with shop(tmp_path / "file" / "state"):
            pytest.fail("it started")


async def test_without_a_folder_nothing_is_written_and_all_are_closed(tmp_path: Path, closed: list[str]) -> None:
    app = build_app([LoadedEnvironment.of(Shop)])
    async with await start(app) as served, Client(served.url, retries=0) as client:
        session, _ = await seed(client)
        assert app[SERVICES]["shop"].sessions._snapshots is None
    assert closed == [session]


def test_the_secret_is_its_owners_alone(tmp_path: Path) -> None:
    from gym_core.state_dir import read_secret

    secret = read_secret(tmp_path / "state")
    assert len(secret) == 64 and read_secret(tmp_path / "state") == secret
    assert (tmp_path / "state" / "secret").stat().st_mode & 0o077 == 0
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["secret"]


def test_a_state_is_declared_by_setup_or_by_name() -> None:
    class Undeclared(Environment):
        name = "undeclared"

        def setup(self, task: Task) -> dict[str, int]:
            return {}

    class Named(Undeclared):
        state_type = Plain

    assert state_type(Shop) is Purse
    assert state_type(Undeclared) is None
    assert state_type(Named) is Plain
    with pytest.raises(BadRequest, match="must be a msgspec Struct or a dataclass"):
        Snapshots(Path("nowhere"), Shop(), dict)
