"""The user's side of a dialogue: over HTTP and in scripts, once for each key, bounded, typed in failure."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest

from gym_core import headers
from gym_core.client import Client, Response
from gym_core.contracts import Task
from gym_core.environment import Call, Environment, Reply, Script, Session, say, tool
from gym_core.errors import EnvironmentFault
from gym_core.generate import make_tasks
from gym_core.play import play_script
from gym_core.registry import LoadedEnvironment
from gym_core.reply import text_output
from gym_core.serve import start
from gym_core.server import EnvironmentServiceConfig, build_app


class Haggle(Environment):
    """Sell for what the user has; 1.0 where the price named last is the one, 0.0 otherwise."""

    name = "haggle"
    max_turns = 5

    def make(self, rng: random.Random, level: int) -> dict[str, Any]:
        return {"prompt": f"How much is vase {rng.randrange(10**6)}?", "purse": rng.randint(10, 99)}

    @tool
    def look(self, session: Session) -> str:
        """Look into the user's purse."""
        return str(session.task["purse"])

    def user(self, task: Task, session: Session, reply: Reply) -> str | None:
        if reply.text == "raise":
            raise KeyError("boom")
        if reply.text == "number":
            return 7  # type: ignore[return-value]
        if reply.text == str(task["purse"]):
            return None
        return f"{len(session.turns) + 1}: not for {reply.text}"

    def verify(self, task: Task, session: Session, reply: Reply) -> float:
        return float(bool(session.turns) and session.turns[-1].message is None and reply.text == str(task["purse"]))

    def oracle(self, task: Task) -> Script:
        return Script((say("1000"), Call("look"), say(str(task["purse"]))), str(task["purse"]))


class Slow(Haggle):
    """A user who never answers."""

    name = "slow"
    entered: ClassVar[asyncio.Event]

    async def user(self, task: Task, session: Session, reply: Reply) -> str | None:
        Slow.entered.set()
        await asyncio.Event().wait()
        return None


class Alone(Environment):
    """Nobody to talk to; 1.0 for yes, 0.0 otherwise."""

    name = "alone"

    def make(self, rng: random.Random, level: int) -> dict[str, Any]:
        return {"prompt": f"Say yes, {rng.random()}."}

    def verify(self, task: Task, session: Session, reply: Reply) -> float:
        return float(reply.text == "yes")


@asynccontextmanager
async def serving(kind: type[Environment], **options: Any) -> AsyncIterator[Client]:
    app = build_app([LoadedEnvironment.of(kind)], EnvironmentServiceConfig(**options))
    async with await start(app) as served, Client(served.url, retries=0, timeout_s=30) as client:
        yield client


async def seeded(client: Client) -> tuple[str, str]:
    """A session, and what its user has."""
    (row,) = (await client.post_json("/tasks", {"count": 1}))["tasks"]
    session = (await client.post_json("/seed_session", row))["session_id"]
    purse = (await client.post("/look", {}, headers={headers.SESSION: session})).text
    return session, purse


async def speak(client: Client, session: str, words: str, **about: str) -> Response:
    return await client.post("/user_turn", {"reply": words}, headers={headers.SESSION: session, **about}, check=False)


def error(reply: Response) -> tuple[int, str]:
    return reply.status, reply.json()["error"]["code"]


# Over HTTP -------------------------------------------------------------------------------------------------------


async def test_a_dialogue_from_seed_to_verdict() -> None:
    async with serving(Haggle) as client:
        session, purse = await seeded(client)
        assert (await speak(client, session, "1000")).json() == {"message": "1: not for 1000", "turn": 1}
        assert (await speak(client, session, purse)).json() == {"message": None, "turn": 2}
        body = {"session_id": session, "response": {"output": text_output(purse)}}
        assert (await client.post_json("/verify", body))["reward"] == 1.0


async def test_the_user_hears_no_thinking_and_the_last_words_of_a_turn() -> None:
    async with serving(Haggle) as client:
        session, _ = await seeded(client)
        output = [*text_output("first"), *text_output("<think>half</think>twelve")]
        said = await client.post_json(
            "/user_turn", {"response": {"output": output}}, headers={headers.SESSION: session}
        )
        assert said["message"] == "1: not for twelve"


async def test_a_turn_asked_for_twice_with_its_key_happens_once() -> None:
    async with serving(Haggle) as client:
        session, _ = await seeded(client)
        first, *others = [
            (await speak(client, session, "5", **{headers.IDEMPOTENCY: key})).json() for key in ("a", "a", "b", "a")
        ]
        assert first == {"message": "1: not for 5", "turn": 1}
        assert others == [first, {"message": "2: not for 5", "turn": 2}, first]


async def test_the_same_turn_asked_for_side_by_side_happens_once() -> None:
    async with serving(Haggle) as client:
        session, _ = await seeded(client)
        said = await asyncio.gather(*(speak(client, session, "5", **{headers.IDEMPOTENCY: "k"}) for _ in range(5)))
        assert [reply.json()["turn"] for reply in said] == [1] * 5


async def test_nobody_answers_who_has_left() -> None:
    async with serving(Haggle) as client:
        session, purse = await seeded(client)
        await speak(client, session, purse, **{headers.IDEMPOTENCY: "last"})
        assert error(await speak(client, session, "hello?")) == (409, "conflict")
        assert (await speak(client, session, purse, **{headers.IDEMPOTENCY: "last"})).json()["message"] is None


async def test_max_turns_bounds_the_users_messages_the_prompt_included() -> None:
    async with serving(Haggle) as client:
        session, _ = await seeded(client)
        said = [(await speak(client, session, "1")).json()["message"] for _ in range(Haggle.max_turns)]
        assert said == ["1: not for 1", "2: not for 1", "3: not for 1", "4: not for 1", None]


@pytest.mark.parametrize("words", ["raise", "number"])
async def test_a_user_that_fails_is_an_environment_fault_and_no_turn(words: str) -> None:
    async with serving(Haggle) as client:
        session, _ = await seeded(client)
        failed = await speak(client, session, words)
        assert error(failed) == (500, "environment_fault")
        assert failed.json()["error"]["stage"] == "user"
        assert (await speak(client, session, "3")).json()["turn"] == 1


async def test_a_user_that_never_answers_is_cut_off_at_the_deadline() -> None:
    Slow.entered = asyncio.Event()
    async with serving(Slow, user_s=0.05) as client:
        session, _ = await seeded(client)
        assert error(await speak(client, session, "hello?"))[1] == "deadline_exceeded"
        assert Slow.entered.is_set()


async def test_a_turn_needs_a_real_session() -> None:
    async with serving(Haggle) as client:
        for session in ("", "w.1234.forged"):
            assert error(await speak(client, session, "1"))[1] == "bad_session"


@pytest.mark.parametrize("body", [{}, {"reply": "1", "response": {"output": []}}, {"reply": 3}, {"words": "1"}])
async def test_a_wrong_turn_is_refused(body: dict[str, Any]) -> None:
    async with serving(Haggle) as client:
        session, _ = await seeded(client)
        reply = await client.post("/user_turn", body, headers={headers.SESSION: session}, check=False)
        assert error(reply) == (400, "bad_request")
        assert (await speak(client, session, "1")).json()["turn"] == 1


async def test_the_manifest_and_openapi_say_who_talks() -> None:
    async with serving(Haggle) as client:
        manifest = await client.get_json("/manifest")
        assert (manifest["user_turns"], manifest["max_turns"], manifest["keeps_sessions"]) == (True, 5, True)
        assert "/user_turn" in (await client.get_json("/openapi.json"))["paths"]
    async with serving(Alone) as client:
        manifest = await client.get_json("/manifest")
        assert (manifest["user_turns"], manifest["max_turns"], manifest["keeps_sessions"]) == (False, 1, False)
        assert "/user_turn" not in (await client.get_json("/openapi.json"))["paths"]
        assert (await speak(client, "s", "1")).status == 404


# In scripts ------------------------------------------------------------------------------------------------------


async def test_the_oracle_speaks_to_the_user_and_is_recorded() -> None:
    (task,) = make_tasks(Haggle(), seed=1, level=0, count=1)
    items, verdict = await play_script(Haggle(), task)
    assert verdict is not None and verdict.reward == 1.0
    kinds = [item.get("role") or item["type"] for item in items]
    assert kinds == ["assistant", "user", "function_call", "function_call_output", "assistant", "assistant"]
    assert items[1]["content"] == "1: not for 1000"


async def test_words_to_a_user_who_has_left_get_no_answer() -> None:
    (task,) = make_tasks(Haggle(), seed=1, level=0, count=1)
    purse = str(task["purse"])
    items, verdict = await play_script(Haggle(), task, Script((say(purse), say("still there?")), purse))
    assert verdict is not None and verdict.reward == 1.0
    assert [item["role"] for item in items] == ["assistant"] * 3


async def test_a_script_may_speak_where_nobody_listens() -> None:
    (task,) = make_tasks(Alone(), seed=1, level=0, count=1)
    _, verdict = await play_script(Alone(), task, Script((say("hello?"),), "yes"))
    assert verdict is not None and verdict.reward == 1.0


async def test_failures_of_the_user_end_a_script() -> None:
    (task,) = make_tasks(Haggle(), seed=1, level=0, count=1)
    with pytest.raises(KeyError):
        await play_script(Haggle(), task, Script((say("raise"),)))
    with pytest.raises(EnvironmentFault, match="must return text"):
        await play_script(Haggle(), task, Script((say("number"),)))
