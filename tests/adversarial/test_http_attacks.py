"""Attacks on the service around the environments: sessions, names of tools, rows and bodies that were tampered with."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from gym_core import headers
from gym_core.client import Client, Response
from gym_core.environment import Script
from gym_core.loading import load_file
from gym_core.reply import text_output

arena = load_file(Path(__file__).with_name("arena.py"))
ledger = load_file(Path(__file__).parent / "attacks" / "ledger.py")
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")


@pytest.fixture(scope="module")
def field() -> Iterator[Any]:
    with arena.served() as found:
        yield found


@pytest.fixture
async def client(field: Any) -> AsyncIterator[Client]:
    """Whatever a test did, honest answers are graded afterwards."""
    async with Client(field.url, timeout_s=60, retries=0) as found:
        yield found
        assert (await field.honest(found, "math")).reward == 1.0
        assert (await field.honest(found, "ledger")).reward == 1.0


async def seeded(client: Client, row: dict[str, Any] = ledger.ROW) -> str:
    session: str = (await client.post_json("/ledger/seed_session", row))["session_id"]
    return session


async def ask(client: Client, path: str, body: Any, session: str = "", cookie: str = "") -> Response:
    about = {headers.SESSION: session} if session else {}
    about |= {"Cookie": cookie} if cookie else {}
    return await client.post(path, body, headers=about, check=False)


def code(said: Response) -> str:
    return str(json.loads(said.body)["error"]["code"])


def reward(said: Response) -> float:
    assert said.status == 200, said.body
    return float(json.loads(said.body)["reward"])


def generated(name: str = "math", level: int = 2) -> tuple[dict[str, Any], str]:
    """A row and the words that solve it."""
    (task,) = arena.tasks_of(name, [level], seed=4711)
    return task.to_row(), arena.oracle_text(name, task)


def response(text: str) -> dict[str, Any]:
    return {"response": {"output": text_output(text)}}


# Sessions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda given: given[:-1] + ("A" if given[-1] != "A" else "B"),
        lambda given: given[1:],
        lambda given: given.swapcase(),
        lambda given: given + "." + given,
        lambda given: "",
        lambda given: "../" + given,
        lambda given: "x" * 7000,
        lambda given: given.split(".")[0],
    ],
)
async def test_a_session_that_was_not_given_out_opens_nothing(client: Client, change: Any) -> None:
    session = change(await seeded(client))
    said = await ask(client, "/ledger/deposit", {"account": "B1", "amount": 3}, session)
    assert said.status in (400, 403)
    assert headers.TOOL not in said.headers  # the policy is never told this
    assert (await ask(client, "/ledger/verify", {**response("4"), "session_id": session})).status in (400, 403)


async def test_a_closed_session_stays_closed(client: Client) -> None:
    session = await seeded(client)
    await client.post("/ledger/close_session", {"session_id": session})
    assert (await ask(client, "/ledger/deposit", {"account": "B1", "amount": 3}, session)).status == 403
    assert (await ask(client, "/ledger/verify", {**response("4"), "session_id": session})).status == 403


async def test_a_session_of_one_environment_is_none_of_another(client: Client) -> None:
    session = await seeded(client)
    row, _ = generated()
    said = await ask(client, "/math/verify", {**response("4"), "session_id": session})
    assert said.status == 403
    other = (await client.post_json("/math/seed_session", row))["session_id"]
    assert (await ask(client, "/ledger/verify", {**response("4"), "session_id": other})).status == 403


async def test_sessions_do_not_see_each_other(client: Client) -> None:
    solver, idler = await seeded(client), await seeded(client)
    move = {"source": "A1", "target": "B1", "amount": 3}
    assert (await ask(client, "/ledger/transfer", move, solver)).status == 200
    assert reward(await ask(client, "/ledger/verify", {**response("4"), "session_id": idler})) == 0.0
    assert reward(await ask(client, "/ledger/verify", {**response("4"), "session_id": solver})) == 1.0


async def test_a_row_beside_a_session_changes_nothing(client: Client) -> None:
    easy = {**ledger.ROW, "expected": {"accounts": {}, "answer": 4}}
    session = await seeded(client)
    assert reward(await ask(client, "/ledger/verify", {**easy, **response("4"), "session_id": session})) == 0.0


async def test_a_verdict_without_a_session_is_refused_where_the_state_counts(client: Client) -> None:
    said = await ask(client, "/ledger/verify", {**ledger.ROW, **response("4")})
    assert (said.status, code(said)) == (400, "bad_request")


async def test_the_same_call_many_times_at_once_is_many_calls(client: Client) -> None:
    session = await seeded(client)
    moves = [ask(client, "/ledger/transfer", {"source": "A1", "target": "B1", "amount": 3}, session) for _ in range(8)]
    said = [answer.status for answer in await asyncio.gather(*moves)]
    assert (said.count(200), said.count(422)) == (3, 5)  # 10 pays for three of them, nobody overdraws
    assert reward(await ask(client, "/ledger/verify", {**response("4"), "session_id": session})) == 0.0


# Names of tools -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["verify", "seed_session", "close_session", "tasks", "ingest", "group_verdict"])
async def test_a_route_called_as_a_tool_is_no_tool(client: Client, name: str) -> None:
    session = await seeded(client)
    said = await ask(client, f"/ledger/{name}", {"reward": 1.0, "account": "B1"}, session)
    assert headers.TOOL not in said.headers
    if name != "close_session":
        assert reward(await ask(client, "/ledger/verify", {**response("4"), "session_id": session})) == 0.0


@pytest.mark.parametrize(
    "name",
    [
        "__init__",
        "oracle",
        "make",
        "setup",
        "close",
        "_verdict",
        "transfer/",
        "Deposit",
        "x" * 3000,
    ],
)
async def test_a_method_that_is_no_tool_cannot_be_called(client: Client, name: str) -> None:
    said = await ask(client, f"/ledger/{name}", {"account": "B1", "amount": 3}, await seeded(client))
    assert said.status in (400, 404, 405, 414)
    assert headers.TOOL not in said.headers


async def test_tools_that_a_task_does_not_declare_are_refused(client: Client) -> None:
    row, _ = generated("ledger", 0)  # one tool: deposit
    session = await seeded(client, row)
    said = await ask(client, "/ledger/withdraw", {"account": "Ana", "amount": 1}, session)
    assert said.status != 200


# Rows -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"task_ref": {"seed": 1, "level": 99, "index": 0}},
        {"task_ref": {"seed": 1, "level": -1, "index": 0}},
        {"task_ref": {"seed": 1, "level": 1, "index": 0, "split": "all"}},
        {"task_ref": {"seed": "1", "level": 1, "index": 0}},
        {"task_ref": {"seed": 10**30, "level": 1, "index": 0}},
        {"task_ref": []},
        {"task_id": "math-0000000000000000"},
        {"environment_version": "0.0.1"},
        {"environment": "ledger"},
        {"responses_create_params": {"input": ""}},
        {"responses_create_params": None},
    ],
)
async def test_a_generated_row_that_was_changed_is_refused(client: Client, change: dict[str, Any]) -> None:
    row, answer = generated()
    said = await ask(client, "/math/verify", {**row, **change, **response(answer)})
    assert said.status in (400, 422), said.body
    assert "reward" not in json.loads(said.body)


async def test_another_index_is_another_task(client: Client) -> None:
    row, answer = generated()
    other = {**row, "task_ref": {**row["task_ref"], "index": row["task_ref"]["index"] + 1}}
    assert (await ask(client, "/math/verify", {**other, **response(answer)})).status == 422


@pytest.mark.parametrize("key", ["expected_answer", "hidden", "answer", "reward", "verdict", "gold", "fields", "ref"])
async def test_fields_in_a_generated_row_do_not_replace_hidden_ones(client: Client, key: str) -> None:
    row, _ = generated()
    said = await ask(client, "/math/verify", {**row, key: "123456789", **response("\\boxed{123456789}")})
    assert reward(said) == 0.0
    said = await ask(client, "/math/verify", {**row, key: {"expected_answer": "1"}, **response("\\boxed{1}")})
    assert reward(said) == 0.0


async def test_a_prompt_that_was_changed_does_not_change_the_answer(client: Client) -> None:
    row, answer = generated()
    eased = {**row, "responses_create_params": {"input": "What is 1+1?"}}
    assert reward(await ask(client, "/math/verify", {**eased, **response("\\boxed{123456789}")})) == 0.0
    assert reward(await ask(client, "/math/verify", {**row, **response(answer)})) == 1.0


async def test_a_reward_that_came_with_the_body_is_replaced(client: Client) -> None:
    row, _ = generated()
    body = {**row, **response("no"), "reward": 1.0, "verdict": {"reward": 1.0, "gradings": {"strict": 1.0}}}
    said = json.loads((await ask(client, "/math/verify", body)).body)
    assert (said["reward"], said["verdict"]["reward"]) == (0.0, 0.0)


async def test_no_answer_leaves_with_a_row_or_a_verdict(client: Client) -> None:
    for name in arena.NAMES:
        (task,) = arena.tasks_of(name, [3], seed=815)
        row = task.to_row()
        bodies = [await client.post(f"/{name}/ingest", {"rows": [row]}, check=False)]
        if not arena.REGISTRY.load(name).cls.keeps_sessions():
            bodies.append(await ask(client, f"/{name}/verify", {**row, **response("I give up.")}))
        for said in bodies:
            told = json.loads(said.body)
            assert not set(task.hidden) & (set(told) | set(str(told.get("tasks"))) - set(row)), name


# Bodies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff\xfe",
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b'{"response": {"output": "text"}}',
        b'{"response": {"output": [1]}}',
        b'{"response": []}',
        b'{"response": {"output": []}, "palaestra": {"grading": "generous"}}',
        b'{"response": {"output": []}, "palaestra": {"reward": 1.0}}',
        b'{"response": {"output": []}, "session_id": 7}',
        b'{"response": {"output": []}, "response": {"output": [{}]}}',
    ],
)
async def test_a_body_that_cannot_be_meant_is_refused(client: Client, body: bytes) -> None:
    for path in ("/math/verify", "/ledger/verify", "/math/seed_session", "/math/ingest", "/math/tasks"):
        said = await ask(client, path, body)
        assert 400 <= said.status < 500, (path, said.status, said.body[:200])
        assert json.loads(said.body)["error"]["code"]


@pytest.mark.parametrize("levels", [127, 200, 450, 700, 930, 955, *range(960, 1000, 3)])
async def test_a_body_that_can_be_read_and_not_be_worked_on_is_the_callers_fault(client: Client, levels: int) -> None:
    """Else sixteen such rows, each a fault of the environment, would have nobody play it."""
    deep = "[" * levels + "]" * levels
    row = f'"responses_create_params": {{"input": "x"}}, "expected_answer": "4", "deep": {deep}'
    for path, body in (
        ("/math/verify", f'{{{row}, "response": {{"output": []}}}}'),
        ("/math/verify", f'{{"expected_answer": "4", "response": {{"output": [{{"content": {deep}}}]}}}}'),
        ("/ledger/seed_session", f"{{{row}}}"),
        ("/math/aggregate_metrics", f'{{"verify_responses": [{{"reward": 1.0, "deep": {deep}}}]}}'),
        ("/math/ingest", f'{{"rows": [{{{row}}}]}}'),
    ):
        said = await ask(client, path, body.encode())
        assert said.status < 500 and b"RecursionError" not in said.body, (path, said.body[:200])
        assert said.status == 200 or json.loads(said.body)["error"]["code"] in ("bad_request", "bad_row")


async def test_a_body_beyond_the_limit_is_refused(client: Client) -> None:
    said = await ask(client, "/math/verify", b'{"a": "' + b"x" * (33 << 20) + b'"}')
    assert said.status == 413


async def test_tasks_without_end_are_refused(client: Client) -> None:
    for asked in ({"count": 10**9}, {"count": 0}, {"level": 10**9}, {"seed": 1.5}, {"start": -5, "count": 1e300}):
        said = await ask(client, "/math/tasks", {"seed": 1, "level": 1, "count": 1, "split": "train", **asked})
        assert said.status in (400, 422), (asked, said.body)


async def test_a_hundred_thousand_items_are_read_in_time(client: Client) -> None:
    row, answer = generated()
    items = [{"type": "reasoning", "content": []}] * 100_000
    body = {**row, "response": {"output": items + text_output(answer)}}
    assert reward(await ask(client, "/math/verify", body)) == 1.0


async def test_the_oracle_still_wins(client: Client) -> None:
    row, answer = generated("stem_qa")
    assert not isinstance(answer, Script)
    assert reward(await ask(client, "/stem_qa/verify", {**row, **response(answer)})) == 1.0
