"""The environment service over HTTP: what travels, what does not, and every way a request can be wrong."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from gym_core import headers
from gym_core.client import Client, Response
from gym_core.contracts import Verdict
from gym_core.environment import Environment
from gym_core.errors import BadRequest
from gym_core.loading import load_file
from gym_core.registry import LoadedEnvironment, Registry
from gym_core.reply import text_output
from gym_core.serve import start
from gym_core.server import SERVICES, EnvironmentServiceConfig, build_app

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
samples = load_file(HERE / "samples.py")


def loaded(name: str) -> LoadedEnvironment:
    return LoadedEnvironment.of(getattr(samples, name))


@asynccontextmanager
async def service(*names: str, **options: Any) -> AsyncIterator[Client]:
    app = build_app([loaded(name) for name in names], EnvironmentServiceConfig(**options))
    async with await start(app) as served, Client(served.url, token=options.get("token"), retries=0) as client:
        client.services = app[SERVICES]  # type: ignore[attr-defined]
        yield client


async def row_of(client: Client, base: str = "", **asked: Any) -> dict[str, Any]:
    return (await client.post_json(f"{base}/tasks", {"seed": 1, "count": 1, **asked}))["tasks"][0]


async def seeded(client: Client, row: dict[str, Any] | None = None, base: str = "") -> str:
    row = row or await row_of(client, base)
    return (await client.post_json(f"{base}/seed_session", row))["session_id"]


async def tool(client: Client, session: str, name: str, arguments: bytes = b"{}") -> Response:
    return await client.post(f"/{name}", arguments, headers={headers.SESSION: session}, check=False)


async def verify(client: Client, row: dict[str, Any], text: str, **more: Any) -> Response:
    return await client.post("/verify", {**row, "response": {"output": text_output(text)}, **more}, check=False)


def error(reply: Response) -> tuple[int, str, str]:
    body = reply.json()["error"]
    return reply.status, body["code"], body.get("field", "")


def sum_of(row: dict[str, Any]) -> str:
    a, b = row["responses_create_params"]["input"][0]["content"].removesuffix(" = ?").split(" + ")
    return str(int(a) + int(b))


# What there is ---------------------------------------------------------------------------------------------------


async def test_the_service_says_what_it_serves() -> None:
    async with service("Sums", "Counter") as client:
        for path in ("/", "/healthz"):
            assert await client.get_json(path) == {
                "status": "ok",
                "environments": {"sums": "1.2.0", "counter": "1.0.0"},
            }
        listed = (await client.get_json("/environments"))["environments"]
        assert [manifest["name"] for manifest in listed] == ["sums", "counter"]
        manifest = await client.get_json("/sums/manifest")
        assert manifest == listed[0]
        assert manifest["levels"] == [0, 1, 2, 3, 4]
        assert manifest["reward_range"] == [0.0, 1.0]
        assert manifest["gradings"] == ["strict", "published"]
        assert (manifest["keeps_sessions"], manifest["group_verdict"], manifest["max_steps"]) == (False, False, 8)
        counter = listed[1]
        assert counter["keeps_sessions"]
        assert counter["gradings"] == ["strict"]
        assert {tool["name"]: tool["read_only"] for tool in counter["tools"]}["read"] is True


async def test_one_environment_also_lives_at_the_root_and_several_do_not() -> None:
    async with service("Sums") as client:
        assert await client.get_json("/manifest") == await client.get_json("/sums/manifest")
    async with service("Sums", "Counter") as client:
        assert (await client.get("/manifest", check=False)).status == 404


async def test_metrics_and_openapi_describe_the_service() -> None:
    async with service("Counter") as client:
        session = await seeded(client)
        await tool(client, session, "add", b'{"n": 1}')
        text = (await client.get("/metrics")).body.decode()
        assert 'palaestra_sessions_open{environment="counter"} 1.0' in text
        assert 'palaestra_tool_calls_total{answer="ok",environment="counter"} 1.0' in text
        document = await client.get_json("/counter/openapi.json")
        assert document["openapi"] == "3.1.0"
        assert document["servers"] == [{"url": "/counter"}]
        assert {"/verify", "/seed_session", "/add", "/broken"} <= set(document["paths"])
        body = document["paths"]["/add"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert body["properties"]["n"] == {"type": "integer", "description": "how much"}
        assert {"200", "422", "500", "default"} == set(document["paths"]["/add"]["post"]["responses"])
        text = msgspec.json.encode(document).decode()
        for name in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
            assert name in document["components"]["schemas"]


async def test_a_token_is_asked_for_when_one_is_set() -> None:
    async with service("Sums", token="tk") as client:
        assert (await client.get("/manifest")).status == 200
        assert (await client.get("/manifest", headers={"Authorization": "Bearer no"}, check=False)).status == 401


def test_no_environment_or_two_of_a_name_are_refused() -> None:
    with pytest.raises(BadRequest, match="no environment"):
        build_app([])
    with pytest.raises(BadRequest, match="same name"):
        build_app([loaded("Sums"), loaded("Sums")])


# Tasks -----------------------------------------------------------------------------------------------------------


async def test_tasks_are_seeded_distinct_and_without_hidden_fields() -> None:
    async with service("Sums", "Heavy") as client:
        asked = {"seed": 3, "level": 2, "count": 40, "split": "train"}
        for base in ("/sums", "/heavy"):
            first = await client.post_json(f"{base}/tasks", asked)
            assert first == await client.post_json(f"{base}/tasks", asked)
            rows = first["tasks"]
            assert len({row["task_id"] for row in rows}) == 40
            assert rows[0]["task_ref"] == {"seed": 3, "level": 2, "index": 0, "split": "train"}
            text = msgspec.json.encode(first).decode()
            assert "hidden" not in text and "secret" not in text
        assert rows[0].keys() == {
            "environment",
            "environment_version",
            "responses_create_params",
            "task_id",
            "task_ref",
        }


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"count": 0}, "count"),
        ({"count": 10_001}, "count"),
        ({"level": 99}, "task_ref.level"),
        ({"split": "test"}, "task_ref.split"),
        ({"seed": "x"}, "seed"),
        ({"start": -1}, "start"),
        ({"sed": 1}, ""),
    ],
)
async def test_a_wrong_request_for_tasks_names_the_field(asked: dict[str, Any], field: str) -> None:
    async with service("Sums") as client:
        assert error(await client.post("/tasks", asked, check=False)) == (400, "bad_request", field)


async def test_ingest_takes_what_fits_and_names_the_rest() -> None:
    params = {"responses_create_params": {"input": "1 + 1"}}
    rows = [
        {**params, "expected_answer": 2, "extra": {"kept": [1]}},
        {**params, "expected_answer": "two"},
        "no row",
        {"responses_create_params": {"input": []}},
    ]
    async with service("Sums") as client:
        said = await client.post_json("/ingest", {"rows": rows})
        taken = said["tasks"][0]
        assert said["tasks"][1:] == [None, None, None]
        assert taken["extra"] == {"kept": [1]}
        assert taken["environment"] == "sums"
        assert "secret_sum" not in taken
        assert [(refusal["row"], refusal["error"]["field"]) for refusal in said["refused"]] == [
            (1, "expected_answer"),
            (2, ""),
            (3, "responses_create_params.input"),
        ]
        assert await client.post_json("/ingest", {"rows": []}) == {"tasks": [], "refused": []}


async def test_ingest_in_workers_keeps_the_order() -> None:
    rows = [{"responses_create_params": {"input": f"q{n}"}, **({"gold": n} if n % 3 else {})} for n in range(30)]
    async with service("Heavy", workers=2) as client:
        said = await client.post_json("/ingest", {"rows": rows})
        assert [row and row["gold"] for row in said["tasks"]] == [n if n % 3 else None for n in range(30)]
        assert [refusal["row"] for refusal in said["refused"]] == list(range(0, 30, 3))


# Verdicts without a session --------------------------------------------------------------------------------------


async def test_a_generated_row_is_graded_from_its_reference() -> None:
    async with service("Sums") as client:
        row = await row_of(client)
        reply = (await verify(client, {**row, "mine": 1}, sum_of(row))).json()
        assert reply["reward"] == 1.0
        assert reply["mine"] == 1
        assert reply["response"] == {"output": text_output(sum_of(row))}
        verdict = msgspec.convert(reply["verdict"], Verdict)
        assert verdict.gradings == {"strict": 1.0, "published": 1.0}
        assert (await verify(client, row, "nothing")).json()["reward"] == 0.0


async def test_a_row_from_outside_is_graded_by_its_own_fields() -> None:
    row = {"responses_create_params": {"input": "1 + 1"}, "expected_answer": 2, "_ng_rollout_index": 3}
    async with service("Sums") as client:
        reply = await verify(client, row, "2")
        assert reply.json()["reward"] == 1.0
        assert b"secret_sum" not in reply.body
        assert error(await verify(client, {**row, "expected_answer": None}, "2")) == (422, "bad_row", "expected_answer")


async def test_a_caller_may_ask_for_the_verdict_alone() -> None:
    async with service("Sums") as client:
        row = await row_of(client)
        body = {**row, "response": {"output": text_output("x")}}
        reply = await client.post("/verify", body, headers={"Prefer": "return=minimal"})
        assert set(reply.json()) == {"verdict"}


async def test_the_grading_that_was_asked_for_is_the_reward_and_both_are_told() -> None:
    async with service("Sums") as client:
        row = await row_of(client)
        sprayed = f"maybe {sum_of(row)}"
        strict = (await verify(client, row, sprayed)).json()
        assert (strict["reward"], strict["verdict"]["gradings"]) == (0.0, {"strict": 0.0, "published": 1.0})
        published = (await verify(client, row, sprayed, palaestra={"grading": "published"})).json()
        assert (published["reward"], published["verdict"]["grading"]) == (1.0, "published")
        assert published["verdict"]["gradings"] == {"strict": 0.0, "published": 1.0}


async def test_a_published_grading_that_raises_costs_only_those_who_asked_for_it() -> None:
    async with service("Sums") as client:
        row = await row_of(client)
        strict = (await verify(client, row, "published raises")).json()["verdict"]
        assert strict["gradings"] == {"strict": 0.0}
        assert strict["details"] == {"published_error": "ZeroDivisionError"}
        asked = await verify(client, row, "published raises", palaestra={"grading": "published"})
        assert error(asked)[:2] == (500, "environment_fault")


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("raise", "environment_fault", "KeyError"),
        ("outside", "environment_fault", "outside reward_range"),
        ("words", "environment_fault", "must return a number"),
        ("judge", "judge_fault", "the judge is away"),
        ("details", "environment_fault", "unsupported"),
    ],
)
async def test_a_verify_that_fails_is_an_error_and_never_a_reward(text: str, code: str, words: str) -> None:
    async with service("Sums") as client:
        reply = await verify(client, await row_of(client), text)
        assert reply.status >= 500
        info = reply.json()["error"]
        assert (info["code"], info["stage"], info["server"]) == (code, "verify", "environment")
        assert words in info["message"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"response": None}, "response"),
        ({"response": {"output": "text"}}, "response.output"),
        ({"response": {"output": [{}, 1]}}, "response.output[1]"),
        ({"palaestra": {"group_size": "x"}}, "palaestra.group_size"),
        ({"palaestra": {"unknown": 1}}, "palaestra"),
        ({"session_id": 1}, "session_id"),
        ({"responses_create_params": {"input": ""}}, "responses_create_params.input"),
        ({"responses_create_params": {"input": ["x"]}}, "responses_create_params.input[0]"),
        ({"task_ref": {"seed": 1}}, "task_ref"),
        ({"task_ref": {"seed": 1, "level": 9, "index": 0}}, "task_ref.level"),
        ({"task_ref": {"seed": 2, "level": 0, "index": 0}}, "task_id"),
        ({"environment_version": "0.1"}, "environment_version"),
    ],
)
async def test_a_wrong_verify_names_the_field(change: dict[str, Any], field: str) -> None:
    async with service("Sums") as client:
        row = await row_of(client)
        reply = await verify(client, {**row, **{k: v for k, v in change.items() if k != "response"}}, "1", **change)
        status, code, named = error(reply)
        assert (named, code in ("bad_request", "bad_row"), 400 <= status < 500) == (field, True, True)


async def test_a_body_that_is_no_json_or_too_large_is_refused() -> None:
    async with service("Sums", max_body_bytes=1000) as client:
        assert error(await client.post("/verify", b"{", check=False))[:2] == (400, "bad_request")
        assert error(await client.post("/verify", b"[]", check=False))[:2] == (400, "bad_request")
        assert error(await client.post("/verify", b" " * 1001, check=False))[:2] == (413, "too_large")


async def test_a_deadline_ends_a_coroutine_that_waits() -> None:
    row = {"responses_create_params": {"input": "q"}}
    async with service("Waiting") as client:
        assert (await verify(client, row, "x")).json()["reward"] == 1.0
        assert error(await verify(client, row, "hang"))[:2] == (504, "deadline_exceeded")
        body = {**row, "response": {"output": text_output("hang")}}
        reply = await client.post("/verify", body, headers={headers.DEADLINE: "0.01"}, check=False)
        assert error(reply)[:2] == (504, "deadline_exceeded")


async def test_a_worker_grades_and_its_failures_are_typed() -> None:
    async with service("Heavy", worker_memory_mb=1024) as client:
        row = await row_of(client)
        good = (await verify(client, row, "fine")).json()["verdict"]
        assert good["details"]["pid"] in client.services["heavy"].pool.pids  # type: ignore[attr-defined]
        assert error(await verify(client, row, "hang"))[:2] == (504, "deadline_exceeded")
        assert error(await verify(client, row, "die"))[:2] == (500, "environment_fault")
        assert error(await verify(client, row, "raise"))[:2] == (500, "environment_fault")
        outside = {"responses_create_params": {"input": "q"}}
        assert error(await verify(client, outside, "fine")) == (422, "bad_row", "gold")
        assert (await verify(client, {**outside, "gold": 1}, "fine")).json()["reward"] == 1.0


async def test_a_full_worker_queue_answers_429_with_a_time() -> None:
    async with service("Heavy", queue_limit=1) as client:
        row = await row_of(client)
        replies = await asyncio.gather(*(verify(client, row, "hang") for _ in range(4)))
        busy = [reply for reply in replies if reply.status == 429]
        assert busy
        assert all(int(reply.headers["Retry-After"]) >= 1 for reply in busy)


# Verdicts that are known already ---------------------------------------------------------------------------------


async def cached(client: Client, name: str) -> tuple[float, float]:
    lines = (await client.get("/metrics")).text.splitlines()
    start = 'palaestra_verdict_cache_total{answer="%s",environment="' + name + '"} '
    hit, miss = (next(line for line in lines if line.startswith(start % answer)) for answer in ("hit", "miss"))
    return float(hit.rsplit(" ", 1)[1]), float(miss.rsplit(" ", 1)[1])


async def test_words_that_were_graded_before_cost_no_worker() -> None:
    row = {"responses_create_params": {"input": "q"}, "gold": "x"}
    async with service("Pure", workers=1) as client:
        for _ in range(3):
            verdict = (await verify(client, row, "x", mine=1)).json()["verdict"]
            assert (verdict["reward"], verdict["details"]) == (1.0, {"asked": 1})
        assert (await verify(client, row, "y", mine=1)).json()["verdict"]["details"] == {"asked": 2}
        assert (await verify(client, {**row, "gold": "y"}, "y", mine=1)).json()["reward"] == 1.0
        assert await cached(client, "pure") == (2.0, 3.0)


async def test_replies_side_by_side_that_say_the_same_are_graded_once() -> None:
    row = {"responses_create_params": {"input": "q"}, "gold": "x"}
    async with service("Pure", workers=2) as client:
        replies = await asyncio.gather(*(verify(client, row, "x") for _ in range(16)))
        assert [reply.json()["verdict"]["details"]["asked"] for reply in replies] == [1] * 16
        assert await cached(client, "pure") == (15.0, 1.0)


async def test_failures_are_not_kept() -> None:
    row = {"responses_create_params": {"input": "q"}, "gold": "x"}
    async with service("Pure") as client:
        for _ in range(2):
            assert error(await verify(client, row, "raise"))[:2] == (500, "environment_fault")
        assert await cached(client, "pure") == (0.0, 0.0)


async def test_the_cache_can_be_switched_off_and_is_off_where_verdicts_differ() -> None:
    row = {"responses_create_params": {"input": "q"}, "gold": "x"}
    async with service("Pure", workers=1, verdict_cache=0) as client:
        said = [(await verify(client, row, "x")).json()["verdict"]["details"]["asked"] for _ in range(2)]
        assert said == [1, 2]
    async with service("Heavy", "Counter", "Longest", "Waiting") as client:
        assert all(found.cache is None for found in client.services.values())  # type: ignore[attr-defined]


async def test_environments_share_their_workers() -> None:
    async with service("Heavy", "Pure", workers=1) as client:
        services = client.services  # type: ignore[attr-defined]
        assert services["heavy"].pool.crew is services["pure"].pool.crew
        await services["pure"].pool.ready()
        assert len(services["heavy"].pool.pids) == 1
        (worker,) = services["heavy"].pool.crew._alive
        assert len(worker.loaded) == 2


# Sessions and tools ----------------------------------------------------------------------------------------------


async def test_a_session_from_seed_to_close() -> None:
    async with service("Counter") as client:
        samples.Counter.closed.clear()
        row = await row_of(client)
        target = int(row["responses_create_params"]["input"][0]["content"].removeprefix("count to "))
        said = await client.post_json("/seed_session", row)
        session = said["session_id"]
        assert (said["environment_version"], said["ttl_s"]) == ("1.0.0", 900.0)
        reply = await tool(client, session, "add", b'{"n": %d}' % target)
        assert (reply.status, reply.body, reply.headers[headers.TOOL]) == (200, str(target).encode(), "ok")
        verdict = await client.post_json("/verify", {"session_id": session, "response": {"output": []}})
        assert verdict["reward"] == 1.0
        assert verdict["verdict"]["components"] == {"calls": 1.0}
        for _ in range(2):
            assert await client.post_json("/close_session", {"session_id": session}) == {}
        assert samples.Counter.closed == [session]
        after = await tool(client, session, "add", b'{"n": 1}')
        assert error(after)[:2] == (403, "bad_session")
        assert headers.TOOL not in after.headers


AND_CLOSE = {headers.PREFER: f"{headers.MINIMAL}, {headers.CLOSE}"}


async def last_verdict(client: Client, session: str, key: str = "k1", **more: Any) -> Response:
    asked = {**AND_CLOSE, headers.IDEMPOTENCY: key} if key else AND_CLOSE
    body = {"session_id": session, "response": {"output": []}, **more}
    return await client.post("/verify", body, headers=asked, check=False)


async def test_a_session_ends_with_its_verdict_where_that_is_asked_for() -> None:
    async with service("Counter") as client:
        samples.Counter.closed.clear()
        session = await seeded(client)
        said = await last_verdict(client, session)
        assert (said.status, said.headers[headers.APPLIED]) == (200, headers.CLOSE)
        assert said.json()["verdict"]["reward"] == 0.0
        assert samples.Counter.closed == [session]
        assert error(await tool(client, session, "add", b'{"n": 1}'))[:2] == (403, "bad_session")
        assert await client.post_json("/close_session", {"session_id": session}) == {}


async def test_a_last_verdict_that_was_lost_on_the_way_is_told_again_to_the_same_request_alone() -> None:
    async with service("Counter") as client:
        samples.Counter.closed.clear()
        session = await seeded(client)
        first, again = [await last_verdict(client, session) for _ in range(2)]
        assert (again.status, again.body, again.headers[headers.APPLIED]) == (200, first.body, headers.CLOSE)
        assert error(await last_verdict(client, session, "k2"))[:2] == (403, "bad_session")
        assert samples.Counter.closed == [session]


@pytest.mark.parametrize("prefer", ["", headers.MINIMAL, "return=representation"])
async def test_a_verdict_alone_ends_no_session(prefer: str) -> None:
    async with service("Counter") as client:
        session = await seeded(client)
        body = {"session_id": session, "response": {"output": []}}
        said = await client.post("/verify", body, headers={headers.PREFER: prefer, headers.IDEMPOTENCY: "k"})
        assert headers.APPLIED not in said.headers
        assert (await tool(client, session, "add", b'{"n": 1}')).status == 200


async def test_who_could_not_ask_again_closes_the_session_itself() -> None:
    async with service("Counter") as client:
        session = await seeded(client)
        assert headers.APPLIED not in (await last_verdict(client, session, key="")).headers
        assert (await tool(client, session, "add", b'{"n": 1}')).status == 200


async def test_a_verify_that_fails_ends_no_session() -> None:
    async with service("Counter") as client:
        session = await seeded(client)
        refused = await last_verdict(client, session, palaestra={"grading": "published"})
        assert refused.status == 400
        assert (await tool(client, session, "add", b'{"n": 1}')).status == 200


async def test_a_verdict_outlives_a_close_that_fails() -> None:
    async with service("Counter") as client:
        session = await seeded(client, {**await row_of(client), "fail_close": True, "target": 1, "task_ref": None})
        said = await last_verdict(client, session)
        assert (said.status, headers.APPLIED in said.headers) == (200, False)
        assert await client.post_json("/close_session", {"session_id": session}) == {}


async def test_the_cookie_does_as_well_as_the_header() -> None:
    async with service("Counter") as client:
        reply = await client.post("/seed_session", await row_of(client))
        cookie = reply.headers["Set-Cookie"].split(";")[0]
        jar = {"Cookie": cookie}
        assert (await client.post("/add", b'{"n": 2}', headers=jar)).body == b"2"
        body = {"response": {"output": []}}
        assert (await client.post("/verify", body, headers=jar)).json()["reward"] == 0.0
        await client.post("/close_session", b"", headers=jar)
        assert (await client.post("/add", b'{"n": 2}', headers=jar, check=False)).status == 403


@pytest.mark.parametrize(
    ("name", "arguments", "status", "kind", "text"),
    [
        ("add", b'{"n": -1}', 422, "fault", "n must not be negative"),
        ("add", b'{"n": "x"}', 422, "fault", "invalid arguments for add: Expected `int`, got `str` - at `$.n`"),
        ("add", b'{"m": 1}', 422, "fault", "invalid arguments for add: Object contains unknown field `m`"),
        ("add", b"", 422, "fault", "invalid arguments for add: Object missing required field `n`"),
        ("broken", b"{}", 500, "exception", "error: the tool broken failed (RuntimeError)"),
        ("unlisted", b"{}", 422, "fault", "error: no tool is called 'unlisted' here"),
    ],
)
async def test_what_the_model_reads_of_a_tool(name: str, arguments: bytes, status: int, kind: str, text: str) -> None:
    async with service("Counter") as client:
        reply = await tool(client, await seeded(client), name, arguments)
        assert (reply.status, reply.headers[headers.TOOL], reply.body.decode()) == (status, kind, text)
        assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"


async def test_a_tool_whose_service_is_away_is_an_error_and_no_answer() -> None:
    async with service("Counter") as client:
        reply = await tool(client, await seeded(client), "away")
        assert error(reply)[:2] == (502, "judge_fault")
        assert headers.TOOL not in reply.headers


async def test_only_declared_tools_are_dispatched() -> None:
    async with service("Counter") as client:
        session = await seeded(client)
        for name in ("setup", "close", "oracle", "_private", "verify_group", "ad", "metrics_of"):
            reply = await tool(client, session, name)
            assert error(reply) == (404, "unknown_name", "tool")
            assert headers.TOOL not in reply.headers
        assert "add" in (await tool(client, session, "ad")).json()["error"]["hint"]


@pytest.mark.parametrize("session", ["", "nonsense", "a.b.c"])
async def test_a_tool_call_without_a_real_session_is_refused(session: str) -> None:
    async with service("Counter") as client:
        assert error(await tool(client, session, "add", b'{"n": 1}'))[:2] == (403, "bad_session")


async def test_calls_of_one_session_run_one_after_another_and_others_meanwhile() -> None:
    async with service("Counter") as client:
        one, other = await seeded(client), await seeded(client)
        samples.Counter.entered, samples.Counter.leave = asyncio.Event(), asyncio.Event()
        calls = [asyncio.create_task(tool(client, one, "slow")) for _ in range(2)]
        await samples.Counter.entered.wait()
        assert (await tool(client, other, "add", b'{"n": 1}')).body == b"1"
        samples.Counter.leave.set()
        assert [reply.body for reply in await asyncio.gather(*calls)] == [b"slow", b"slow"]


async def test_a_tool_that_waits_too_long_is_cut_off() -> None:
    async with service("Counter", tool_s=0.02) as client:
        samples.Counter.entered, samples.Counter.leave = asyncio.Event(), asyncio.Event()
        reply = await tool(client, await seeded(client), "slow")
        samples.Counter.inside = 0
        assert error(reply)[:2] == (504, "deadline_exceeded")


async def test_sessions_of_one_task_share_nothing_and_replay_by_seed() -> None:
    async with service("Counter") as client:
        row = await row_of(client)
        one, two, three = [
            await seeded(client, {**row, "palaestra": {"seed": 5, "repeat": repeat}}) for repeat in (0, 0, 1)
        ]
        await tool(client, one, "add", b'{"n": 9}')
        read = [(await tool(client, session, "read")).json() for session in (one, two, three)]
        assert [said["count"] for said in read] == [9, 0, 0]
        assert read[0]["draw"] == read[1]["draw"] != read[2]["draw"]


async def test_an_environment_with_sessions_wants_one_for_its_verdict() -> None:
    async with service("Counter") as client:
        reply = await verify(client, await row_of(client), "done")
        assert error(reply) == (400, "bad_request", "session_id")


async def test_a_setup_that_fails_is_an_environment_fault() -> None:
    async with service("Counter") as client:
        row = {"responses_create_params": {"input": "q"}, "fail_setup": True}
        reply = await client.post("/seed_session", row, check=False)
        assert error(reply)[:2] == (500, "environment_fault")
        assert reply.json()["error"]["stage"] == "seed_session"


async def test_a_retried_seed_with_its_key_opens_one_session() -> None:
    async with service("Counter") as client:
        row = await row_of(client)
        keyed = {headers.IDEMPOTENCY: "k1"}
        said = [(await client.post("/seed_session", row, headers=keyed)).json()["session_id"] for _ in range(2)]
        assert said[0] == said[1]
        assert len(client.services["counter"].sessions) == 1  # type: ignore[attr-defined]


async def test_stopping_the_service_closes_every_session() -> None:
    samples.Counter.closed.clear()
    async with service("Counter") as client:
        sessions = {await seeded(client) for _ in range(3)}
    assert set(samples.Counter.closed) == sessions


async def test_a_plain_environment_may_be_asked_for_a_session_too() -> None:
    async with service("Sums") as client:
        row = await row_of(client)
        session = await seeded(client, row)
        body = {"session_id": session, "response": {"output": text_output(sum_of(row))}}
        assert (await client.post_json("/verify", body))["reward"] == 1.0


# Groups ----------------------------------------------------------------------------------------------------------


async def test_a_group_is_judged_together() -> None:
    async with service("Longest") as client:
        row = await row_of(client)
        about = {"group_id": "g", "group_size": 2}
        first = await verify(client, row, "short", palaestra={**about, "rollout_id": "a"})
        assert first.status == 202
        assert first.json()["pending"]["have"] == 1
        asked = {"group_id": "g", "rollout_id": "a"}
        assert (await client.post("/group_verdict", asked)).status == 202
        await verify(client, row, "very long", palaestra={**about, "rollout_id": "b"})
        rewards = [
            (await client.post_json("/group_verdict", {**asked, "rollout_id": name, "wait_s": 5}))["verdict"]["reward"]
            for name in "ab"
        ]
        assert rewards == [0.0, 1.0]


async def test_a_group_is_judged_at_its_deadline_without_the_missing() -> None:
    async with service("Longest") as client:
        row = await row_of(client)
        about = {"group_id": "g", "group_size": 3}
        await verify(client, row, "short", palaestra={**about, "rollout_id": "a"})
        asked = {"group_id": "g", "rollout_id": "a", "wait_s": 5}
        assert (await client.post_json("/group_verdict", asked))["verdict"]["reward"] == 1.0
        late = await verify(client, row, "late", palaestra={**about, "rollout_id": "b"})
        assert error(late)[:2] == (504, "deadline_exceeded")
        missing = await client.post("/group_verdict", {**asked, "rollout_id": "b"}, check=False)
        assert error(missing)[:2] == (404, "unknown_name")


async def test_a_group_that_cannot_be_judged_is_an_error_for_each() -> None:
    async with service("Longest") as client:
        row = await row_of(client)
        await verify(client, row, "raise", palaestra={"group_id": "g", "rollout_id": "a"})
        asked = {"group_id": "g", "rollout_id": "a", "wait_s": 5}
        reply = await client.post("/group_verdict", asked, check=False)
        assert error(reply)[:2] == (500, "environment_fault")
        assert reply.json()["error"]["stage"] == "verify_group"


@pytest.mark.parametrize("given", [{}, {"group_id": "g"}, {"rollout_id": "a"}])
async def test_a_group_environment_wants_the_group_and_the_member(given: dict[str, str]) -> None:
    async with service("Longest") as client:
        reply = await verify(client, await row_of(client), "x", palaestra=given)
        wanted = "palaestra.rollout_id" if "group_id" in given else "palaestra.group_id"
        assert error(reply) == (400, "bad_request", wanted)


# How light it is -------------------------------------------------------------------------------------------------


def test_the_author_interface_imports_fast_and_light() -> None:
    code = """
        import time; start = time.process_time()
        import gym_core.environment
        took = time.process_time() - start
        import sys
        print(took, [name for name in ("numpy", "torch", "ray", "aiohttp", "sqlalchemy") if name in sys.modules])
    """
    took, heavy = min(python(code).split(" ", 1) for _ in range(3))
    assert heavy == "[]"
    assert float(took) < 1.0


async def test_a_server_is_ready_soon_and_small_and_leaves_no_worker_behind() -> None:
    code = f"""
        import sys; sys.path.insert(0, {str(ROOT)!r})
        from gym_core.registry import LoadedEnvironment
        from gym_core.loading import load_class
        from gym_core.serve import run
        from gym_core.server import build_app
        spec = {f"{HERE / 'samples.py'}:Heavy"!r}
        run(build_app([LoadedEnvironment.of(load_class(spec))]), parent_pid=None)
    """
    started = time.perf_counter()
    server = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, cwd=ROOT, text=True
    )
    try:
        assert server.stdout is not None
        ready = msgspec.json.decode(server.stdout.readline())
        took = time.perf_counter() - started
        used_mb = psutil.Process(server.pid).memory_info().rss / 2**20
        async with Client(ready["url"]) as client:  # its loop is uvloop's, unlike that of the other tests
            row = await row_of(client)
            assert (await verify(client, row, "hang")).status == 504
            worker = psutil.Process((await verify(client, row, "fine")).json()["verdict"]["details"]["pid"])
        assert worker.ppid() == server.pid
        server.terminate()
        assert server.wait(10) == 0
    finally:
        server.kill()
        server.communicate()
    assert not worker.is_running()
    assert took < 20.0
    assert used_mb < 100


def python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.strip()


def test_discovered_environments_can_all_be_served_together() -> None:
    registry = Registry.discover()
    app = build_app([registry.load(name) for name in registry.names()])
    assert set(app[SERVICES]) == set(registry.names())
    assert all(isinstance(found.environment, Environment) for found in app[SERVICES].values())
