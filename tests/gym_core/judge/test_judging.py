"""The judge behind /verify: after the worker, on the loop, its failures typed, its account in the verdict."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent_server.app import build_app as build_agent
from agent_server.config import AgentConfig
from gym_core.client import Client, Response
from gym_core.contracts import Outcome
from gym_core.judge.config import JudgeConfig
from gym_core.loading import load_file
from gym_core.registry import LoadedEnvironment
from gym_core.reply import text_output
from gym_core.serve import start
from gym_core.server import EnvironmentServiceConfig, build_app

samples = load_file(Path(__file__).parents[1] / "samples.py")
FAKES = load_file(Path(__file__).parents[2] / "agent_server" / "fakes.py")
ROW = {"responses_create_params": {"input": "q"}, "answer": "one"}


@asynccontextmanager
async def service(name: str, judge: Any = None, **options: Any) -> AsyncIterator[Client]:
    loaded = LoadedEnvironment.of(getattr(samples, name))
    config = None if judge is None else judge.client.config
    app = build_app([loaded], EnvironmentServiceConfig(workers=1, **options), config)
    async with await start(app) as served, Client(served.url, retries=0) as client:
        yield client


async def verify(client: Client, text: str, **more: Any) -> Response:
    body = {**ROW, **more, "response": {"output": text_output(text)}}
    return await client.post("/verify", body, check=False)


async def test_what_is_decided_is_not_judged(bench: Any) -> None:
    made = await bench("[[A!=B]]")
    async with service("Opinion", made) as client:
        verdict = (await verify(client, "one")).json()["verdict"]
    assert verdict["reward"] == 1.0 and "judge" not in verdict["details"]
    assert made.fake.asked == []


async def test_the_judge_has_the_last_word_and_its_account_is_told(bench: Any) -> None:
    made = await bench("[[A=B]]", input_price=1.0)
    async with service("Opinion", made) as client:
        assert (await client.get_json("/manifest"))["judged"] is True
        verdict = (await verify(client, "1")).json()["verdict"]
        text = (await client.get("/metrics")).text
    assert verdict["reward"] == 1.0
    assert verdict["gradings"] == {"strict": 1.0, "published": 0.5}
    judged = verdict["details"]["judge"]
    assert (judged["calls"], judged["agreed"], judged["model"], judged["cost"]) == (2, 1, "m", 0.0002)
    assert verdict["details"]["pid"]  # the details of `verify` stay
    assert 'palaestra_judge_requests_total{outcome="read",protocol="equivalence"} 2.0' in text
    assert 'palaestra_judge_orders_total{agreement="agreed",protocol="equivalence"} 1.0' in text


async def test_a_generated_task_reaches_the_judge_with_its_hidden_fields(bench: Any) -> None:
    made = await bench("[[A=B]]")
    async with service("Opinion", made) as client:
        row = (await client.post_json("/tasks", {"seed": 1, "count": 1}))["tasks"][0]
        reply = await client.post_json("/verify", {**row, "response": {"output": text_output("1")}})
    assert reply["reward"] == 1.0 and "gold" not in reply
    assert "\none\n" in made.fake.prompts[0]


async def test_the_grading_that_was_asked_for_is_the_one_that_is_judged(bench: Any) -> None:
    made = await bench("[[A!=B]]")
    async with service("Opinion", made) as client:
        verdict = (await verify(client, "1", palaestra={"grading": "published"})).json()["verdict"]
    assert (verdict["reward"], verdict["grading"]) == (0.0, "published")
    assert verdict["gradings"] == {"strict": 0.0, "published": 0.0}


async def test_judged_words_are_not_kept_and_the_check_before_them_is(bench: Any) -> None:
    made = await bench("[[A!=B]]", "[[A=B]]")
    async with service("Opinion", made) as client:
        rewards = [(await verify(client, "1")).json()["reward"] for _ in range(2)]
        text = (await client.get("/metrics")).text
    assert rewards == [0.0, 1.0]
    assert 'palaestra_verdict_cache_total{answer="hit",environment="opinion"} 1.0' in text


async def test_without_a_judge_the_verdict_is_that_of_verify() -> None:
    async with service("Opinion") as client:
        assert (await client.get_json("/manifest"))["judged"] is False
        assert (await verify(client, "1")).json()["reward"] == 0.0


async def test_an_environment_that_needs_a_judge_gives_no_verdict_without_one(bench: Any) -> None:
    async with service("Needy") as client:
        reply = await verify(client, "one")
        info = reply.json()["error"]
        assert (reply.status, info["code"]) == (502, "judge_fault")
        assert "needs a judge" in info["message"] and "base_url" in info["hint"]
    async with service("Needy", await bench("[[A=B]]")) as client:
        assert (await verify(client, "1")).json()["reward"] == 1.0


@pytest.mark.parametrize(
    ("says", "text", "status", "code"),
    [
        ("hmm", "1", 502, "judge_fault"),
        (503, "1", 502, "judge_fault"),
        (401, "1", 502, "judge_fault"),
        ("[[A=B]]", "raise", 500, "environment_fault"),
        ("[[A=B]]", "outside", 500, "environment_fault"),
    ],
)
async def test_a_judge_that_fails_and_an_author_that_fails_are_told_apart(
    bench: Any, says: Any, text: str, status: int, code: str
) -> None:
    async with service("Opinion", await bench(says, retries=0)) as client:
        reply = await verify(client, text)
    info = reply.json()["error"]
    assert (reply.status, info["code"], info["stage"]) == (status, code, "judge")
    assert "reward" not in reply.json()


@pytest.mark.parametrize("text", ["1", "wait"])
async def test_the_callers_deadline_holds_for_the_judge(bench: Any, text: str) -> None:
    async def hang(_: Any) -> str:
        await asyncio.Event().wait()
        return ""

    async with service("Opinion", await bench(hang)) as client:
        await verify(client, "one")  # the worker is warm
        began = time.monotonic()
        body = {**ROW, "response": {"output": text_output(text)}}
        reply = await client.post("/verify", body, timeout_s=5.0, check=False)  # sent along as the deadline
        assert reply.json()["error"]["code"] == "judge_fault"
        assert time.monotonic() - began < 5.0


async def test_other_verdicts_go_on_while_a_judge_thinks(bench: Any) -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    async def slow(_: Any) -> str:
        asked.set()
        await go.wait()
        return "[[A!=B]]"

    async with service("Opinion", await bench(slow)) as client:
        judged = asyncio.create_task(verify(client, "1"))
        await asked.wait()
        assert (await verify(client, "one")).json()["reward"] == 1.0  # the one worker is free
        go.set()
        assert (await judged).json()["reward"] == 0.0


async def test_a_group_is_judged_together(bench: Any) -> None:
    made = await bench("[[A=B]]")
    async with service("Contest", made) as client:
        for name, text in (("a", "1"), ("b", "")):
            about = {"group_id": "g", "group_size": 2, "rollout_id": name}
            assert (await verify(client, text, palaestra=about)).status == 202
        verdicts = [
            (await client.post_json("/group_verdict", {"group_id": "g", "rollout_id": name, "wait_s": 5}))["verdict"]
            for name in "ab"
        ]
    assert [verdict["reward"] for verdict in verdicts] == [1.0, 0.0]
    assert verdicts[0]["details"]["judge"]["calls"] == 2


@pytest.mark.parametrize(("says", "text", "code"), [("hmm", "1", "judge_fault"), ("", "few", "environment_fault")])
async def test_a_group_that_cannot_be_judged_is_an_error_for_each(bench: Any, says: str, text: str, code: str) -> None:
    async with service("Contest", await bench(says, retries=0)) as client:
        about = {"group_id": "g", "rollout_id": "a"}
        await verify(client, text, palaestra=about)
        reply = await client.post("/group_verdict", {**about, "wait_s": 5}, check=False)
    assert reply.json()["error"]["code"] == code


@pytest.mark.parametrize(
    ("says", "outcome", "reward"),
    [("[[A=B]]", Outcome.SCORED, 1.0), ("hmm", Outcome.JUDGE_ERROR, None), (503, Outcome.JUDGE_ERROR, None)],
)
async def test_through_the_agent_server_a_failing_judge_is_a_judge_error_in_the_store(
    bench: Any, tmp_path: Path, says: Any, outcome: Outcome, reward: float | None
) -> None:
    policy = FAKES.FakePolicy([FAKES.message("1")])
    made = await bench(says, retries=1)
    async with service("Opinion", made) as environment, await start(policy.app()) as policy_served:
        settings = AgentConfig(
            environments={"opinion": environment.base_url},
            policy_url=policy_served.url,
            store=str(tmp_path / "store.db"),
        )
        row = {**ROW, "environment": "opinion", "palaestra": {"rollout_id": "r1"}}
        async with await start(build_agent(settings)) as served, Client(served.url) as client:
            said = await client.post_json("/run", row)
            stored = await client.get_json("/rollouts/r1")
    for rollout in (said, stored):
        verdict = rollout["verdict"] or {"reward": None}
        assert (rollout["outcome"], verdict["reward"]) == (outcome, reward)
    assert said["reward"] == reward
    assert said["mask_sample"] is (outcome is Outcome.JUDGE_ERROR)
    if outcome is Outcome.JUDGE_ERROR:
        assert (said["error"]["code"], said["error"]["stage"]) == ("judge_fault", "judge")
        assert said["verdict"] is None


async def test_a_recording_needs_no_judge(bench: Any, tmp_path: Path) -> None:
    file = tmp_path / "judgements.jsonl"
    made = await bench("[[A=B]]", recorded=str(file), record=True)
    async with service("Opinion", made) as client:
        assert (await verify(client, "1")).json()["reward"] == 1.0
    app = build_app([LoadedEnvironment.of(samples.Opinion)], None, JudgeConfig(recorded=str(file)))
    async with await start(app) as served, Client(served.url, retries=0) as client:
        assert (await verify(client, "1")).json()["reward"] == 1.0
        unknown = await verify(client, "uno")
    assert "no judgement for request" in unknown.json()["error"]["message"]


@pytest.mark.parametrize(("answer", "status"), [("open", 502), ("one", 200)])
async def test_without_a_judge_only_those_tasks_are_refused_that_a_judge_decides(answer: str, status: int) -> None:
    async with service("Divided") as client:
        body = {**ROW, "answer": answer, "response": {"output": text_output("one")}}
        for _ in range(2):  # the second time from the cache
            reply = await client.post("/verify", body, check=False)
            assert reply.status == status
        if status == 502:
            assert reply.json()["error"]["code"] == "judge_fault" and "task" in reply.json()["error"]["message"]


async def test_where_a_judge_decides_no_other_reward_is_told(bench: Any) -> None:
    async with service("Divided", await bench("[[A=B]]")) as client:
        verdict = (await verify(client, "one", answer="open")).json()["verdict"]
        assert verdict["gradings"] == {"strict": 1.0}
        verdict = (await verify(client, "one", answer="one")).json()["verdict"]
        assert verdict["gradings"] == {"strict": 1.0, "published": 0.5}
