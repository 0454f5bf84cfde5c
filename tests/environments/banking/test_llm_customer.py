"""A customer played by a model: requests to a server of a few lines, typed failures, the books judged as ever."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp import web

from environments.banking.environment import Banking, Chat
from environments.banking.llm_customer import STOP, LlmCustomer, role
from gym_core.environment import Script, say
from gym_core.errors import EnvironmentFault
from gym_core.generate import make_tasks
from gym_core.play import play_script
from gym_core.serve import start

ENVIRONMENT = Banking()
(TASK,) = make_tasks(ENVIRONMENT, seed=2, level=0, count=1)
(LONG,) = make_tasks(ENVIRONMENT, seed=2, level=5, count=1)


class Model:
    """Says one thing after another; keeps what it was asked."""

    def __init__(self, *words: Any, status: int = 200) -> None:
        self.words = list(words)
        self.status = status
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []

    async def complete(self, request: web.Request) -> web.Response:
        self.asked.append(await request.json())
        self.keys.append(request.headers.get("Authorization", ""))
        said = self.words.pop(0) if self.words else STOP
        body = said if isinstance(said, dict) else {"choices": [{"message": {"role": "assistant", "content": said}}]}
        return web.json_response(body, status=self.status)


@pytest.fixture
async def played_by(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[[Model], Awaitable[Model]]]:
    """Puts a model into the customer's place."""
    async with AsyncExitStack() as stack:

        async def put(model: Model) -> Model:
            app = web.Application()
            app.router.add_post("/v1/chat/completions", model.complete)
            served = await stack.enter_async_context(await start(app))
            monkeypatch.setenv("PALAESTRA_CUSTOMER_URL", f"{served.url}/v1/")
            monkeypatch.setenv("PALAESTRA_CUSTOMER_MODEL", "customer-7b")
            monkeypatch.setenv("PALAESTRA_CUSTOMER_KEY", "k-1")
            return model

        yield put


async def test_a_model_speaks_for_the_customer_and_the_books_are_judged(played_by: Any) -> None:
    model = await played_by(Model("Fine, thanks.", STOP))
    script = ENVIRONMENT.oracle(TASK)
    steps = (*script.calls[:-1], say("Is there anything else?"))
    items, verdict = await play_script(ENVIRONMENT, TASK, Script((*steps[:-1], script.calls[-1]), script.reply))
    assert verdict is not None and verdict.reward == 1.0
    assert [item["content"] for item in items if item.get("role") == "user"] == ["Fine, thanks."]
    assert model.keys == ["Bearer k-1"]
    (asked,) = model.asked
    assert asked["model"] == "customer-7b" and asked["temperature"] == 0.0
    assert [one["role"] for one in asked["messages"]] == ["system", "assistant", "user"]
    assert asked["messages"][1]["content"] == TASK["plan"].prompt


async def test_the_model_remembers_the_dialogue_and_may_leave(played_by: Any) -> None:
    model = await played_by(Model("Who knows.", f"Bye {STOP}"))
    items, verdict = await play_script(ENVIRONMENT, TASK, Script((say("Hello?"), say("Anything else?"), say("Hm."))))
    assert verdict is not None and verdict.reward == 0.0
    assert [item["content"] for item in items if item.get("role") == "user"] == ["Who knows."]
    assert [one["role"] for one in model.asked[1]["messages"]] == ["system", "assistant", "user", "assistant", "user"]


@pytest.mark.parametrize(
    "model",
    [Model("x", status=500), Model({"choices": []}), Model({"choices": [{"message": {}}]}), Model({"nothing": 1})],
)
async def test_a_model_that_fails_is_a_fault_and_no_reward(played_by: Any, model: Model) -> None:
    await played_by(model)
    with pytest.raises(EnvironmentFault, match="customer's model"):
        await play_script(ENVIRONMENT, TASK, Script((say("Hello?"),)))


def test_the_role_says_all_that_the_customer_knows_and_nothing_of_what_is_right() -> None:
    plan = LONG["plan"]
    text = role(plan)
    for goal in plan.goals:
        assert goal.ask in text and all(words in text for _, words in goal.answers)
        assert all(words in text for words in (goal.change, goal.insists))
        assert all(call.name not in text for call in (*goal.calls, *goal.looks))
    assert all(word in text for one in plan.tries for word in one)
    assert STOP in text


def test_the_customer_is_scripted_where_nobody_else_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PALAESTRA_CUSTOMER_URL", raising=False)
    chat = ENVIRONMENT.setup(TASK)
    assert isinstance(chat, Chat) and not isinstance(chat.customer, LlmCustomer)
    monkeypatch.setenv("PALAESTRA_CUSTOMER_URL", "http://127.0.0.1:1")
    monkeypatch.delenv("PALAESTRA_CUSTOMER_MODEL", raising=False)
    with pytest.raises(EnvironmentFault, match="PALAESTRA_CUSTOMER_MODEL"):
        ENVIRONMENT.setup(TASK)
