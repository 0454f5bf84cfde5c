"""The head: everything that NeMo Gym's clients read and post, at one address, by clients that know nothing of ours."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import yaml
from fakes import call, message
from whole_gym import Gym, KnowingPolicy, open_gym

from agent_server.nemo_gym.collection import Collection
from agent_server.nemo_gym.config import HeadConfig
from agent_server.nemo_gym.head import build_head
from gym_core.errors import BadRequest, BadRow
from gym_core.serve import start


@pytest.fixture
async def gym(tmp_path: Path) -> AsyncIterator[tuple[Gym, KnowingPolicy]]:
    async with AsyncExitStack() as stack:
        yield await open_gym(stack, tmp_path)


def client_of(gym: Gym) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=gym.head.url, timeout=60)


def response(*items: dict[str, Any]) -> dict[str, Any]:
    return {"id": "r", "object": "response", "created_at": 0, "model": "m", "output": list(items),
            "parallel_tool_calls": True, "tool_choice": "auto", "tools": []}  # fmt: skip


async def test_the_configuration_is_yaml_in_a_json_string_and_three_levels_deep(gym: tuple[Gym, KnowingPolicy]) -> None:
    async with client_of(gym[0]) as client:
        body = (await client.get("/global_config_dict_yaml")).content
    config = yaml.safe_load(json.loads(body))
    for name in ("math", "math_with_judge_simple_agent", "math_with_judge", "ledger", "ledger_simple_agent"):
        ((kind, servers),) = config[name].items()
        (server,) = servers.values()
        assert kind == "responses_api_agents"
        assert f"http://{server['host']}:{server['port']}" == gym[0].head.url
        assert server["resources_server"]["name"] in config
        front = config[f"{name}_environment_server"]["environment_servers"]["legacy_agent"]
        assert front["agent_server"] == {"type": "responses_api_agents", "name": name}
    assert config["policy_base_url"] == f"{gym[0].policy.url}/v1"


async def test_no_secret_is_in_what_the_head_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALAESTRA_TOKEN", "hush")
    async with AsyncExitStack() as stack:
        made, _ = await open_gym(stack, tmp_path)
        config = HeadConfig(environments={"math": f"{made.environments.url}/math"}, policy_url="http://u:pw@h:1/v1")
        guarded = await stack.enter_async_context(await start(build_head(config, token="hush"), token="hush"))
        async with httpx.AsyncClient(base_url=guarded.url) as client:
            assert (await client.get("/global_config_dict_yaml")).status_code == 401
            told = await client.get("/global_config_dict_yaml", headers={"Authorization": "Bearer hush"})
            listed = await client.get("/server_instances", headers={"Authorization": "Bearer hush"})
    assert told.status_code == listed.status_code == 200
    assert "hush" not in told.text + listed.text and "pw" not in told.text


async def test_server_instances_have_their_fields(gym: tuple[Gym, KnowingPolicy]) -> None:
    async with client_of(gym[0]) as client:
        assert (await client.get("/")).json() == {"status": "ok"}
        listed = (await client.get("/server_instances")).json()
    kinds = {one["process_name"]: one["server_type"] for one in listed}
    assert kinds["math"] == "responses_api_agents" and kinds["math_resources"] == "resources_servers"
    assert kinds["policy_model"] == "responses_api_models"
    assert {"config_path", "entrypoint", "host", "name", "port", "process_name", "server_type", "status", "url"} <= set(
        listed[0]
    )


@pytest.mark.parametrize("route", ["agent_ref", "task_source"])
async def test_run_answers_a_row_of_their_rollouts_file(gym: tuple[Gym, KnowingPolicy], route: str) -> None:
    row = {key: value for key, value in gym[0].ledger[0].items() if key != "environment"}
    name = "ledger_simple_agent"
    row |= {route: {"type": "responses_api_agents", "name": name} if route == "agent_ref" else name}
    row |= {"_ng_task_index": 4, "_ng_rollout_index": 1, "_rowidx": 9}
    async with client_of(gym[0]) as client:
        result = (await client.post("/run", json=row)).json()
    assert result["reward"] == 1.0 and result["mask_sample"] is False
    assert {key: result[key] for key in row} == row, "every field of the row comes back"
    assert result["palaestra_rollout"]["outcome"] == "scored" and result["palaestra_rollout"]["repeat"] == 1
    assert sum(result.get("reward_components", {"all": 1.0}).values()) == pytest.approx(1.0)
    seen: list[int] = []
    for item in result["response"]["output"]:
        assert item.get("id") or item["type"] == "function_call_output"
        if "generation_token_ids" in item:
            assert item["prompt_token_ids"][: len(seen)] == seen
            seen = item["prompt_token_ids"] + item["generation_token_ids"]
    assert seen and result["response"]["usage"]["total_tokens"] > 0
    assert result["response"]["output"][-1]["content"][0]["annotations"] == []


async def test_the_same_row_twice_is_two_samples(gym: tuple[Gym, KnowingPolicy]) -> None:
    async with client_of(gym[0]) as client:
        for _ in range(2):
            await client.post("/run", json=gym[0].math[0])
    first, second = (asked["seed"] for asked in gym[1].asked)
    assert first != second


async def test_a_failure_is_a_500_with_one_json_string_and_never_a_reward(gym: tuple[Gym, KnowingPolicy]) -> None:
    gym[1].broken = True
    async with client_of(gym[0]) as client:
        reply = await client.post("/run", json=gym[0].math[0])
    assert reply.status_code == 500
    assert isinstance(reply.json(), str) and "policy_error" in reply.json() and "reward" not in reply.json()


async def test_a_failure_as_a_masked_row_for_clients_that_leave_those_out(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        made, policy = await open_gym(stack, tmp_path, failures="masked")
        policy.broken = True
        async with client_of(made) as client:
            result = (await client.post("/run", json=made.math[0])).json()
            metrics = (await client.post("/aggregate_metrics", json={"verify_responses": [result]})).json()
    assert result["mask_sample"] is True and result["failure_kind"] == "model_error"
    assert "policy_error" in result["failure_reason"]
    assert metrics["agent_metrics"]["coverage/measured_rollouts"] == 0 and "mean/reward" not in metrics["key_metrics"]


async def test_bad_rows_are_told_in_fastapis_shape_and_ours(gym: tuple[Gym, KnowingPolicy]) -> None:
    async with client_of(gym[0]) as client:
        unknown = await client.post("/run", json={"responses_create_params": {"input": "x"}, "task_source": "nowhere"})
        bad = await client.post("/run", json={"responses_create_params": {}, "agent_ref": {"name": "math"}})
        text = await client.post("/run", content=b"{")
        options = await client.post("/run", json={**gym[0].math[0], "palaestra": 3})
    assert unknown.status_code == 404 and "nowhere" in unknown.json()["detail"]
    assert bad.status_code == 422 and bad.json()["detail"][0]["loc"] == ["body", "responses_create_params", "input"]
    assert text.status_code == options.status_code == 400
    assert bad.json()["error"]["code"] == "bad_row"


async def test_two_environments_at_one_address_are_told_apart_by_row_and_cookie(
    gym: tuple[Gym, KnowingPolicy],
) -> None:
    made, _ = gym
    row = made.ledger[0]
    script = made.scripts[row["task_id"]]
    items = []
    async with client_of(made) as client:
        seeded = await client.post("/seed_session", json=row)
        assert seeded.status_code == 200 and list(client.cookies) == ["palaestra_session_ledger"]
        for number, step in enumerate(script.calls):
            said = await client.post(f"/{step.name}", json=step.arguments)
            assert said.status_code == 200 and said.headers["content-type"].startswith("text/plain")
            arguments = msgspec.json.encode(step.arguments).decode()
            items += [
                call(step.name, arguments, f"c{number}"),
                {"type": "function_call_output", "call_id": f"c{number}", "output": said.text},
            ]
        fault = await client.post("/get_balance", json={"account": "nobody's"})
        assert fault.status_code == 422 and "detail" not in fault.text
        bare = {key: value for key, value in row.items() if key != "environment"}
        verified = await client.post("/verify", json={**bare, "response": response(*items, message(script.reply))})
        assert verified.json()["reward"] == 1.0 and verified.json()["response"]["id"] == "r"
        closed = await client.post("/close_session", json={})
        assert closed.status_code == 200
    async with client_of(made) as client:
        math = made.math[0]
        right = made.scripts[math["task_id"]].reply
        said = (await client.post("/verify", json={**math, "response": response(message(right))})).json()
        lost = await client.post("/get_balance", json={"account": "A1"})
    assert said["reward"] == 1.0
    assert lost.status_code == 400 and "which environment" in lost.json()["detail"]


async def test_responses_reach_the_policy(gym: tuple[Gym, KnowingPolicy]) -> None:
    async with client_of(gym[0]) as client:
        said = (await client.post("/v1/responses", json={"input": "who?"})).json()
    assert said["output"][0]["content"][0]["text"] == "I do not know."


async def test_the_collection_leaves_their_four_files_and_resumes(
    gym: tuple[Gym, KnowingPolicy], tmp_path: Path
) -> None:
    made, policy = gym
    rows = tmp_path / "rows.jsonl"
    rows.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in [*made.math, made.ledger[0]]))
    collection = Collection(tmp_path / "out" / "rollouts.jsonl", repeats=2)
    counts = await collection.run(rows, made.head.url)
    assert (counts.scored, counts.failed) == (8, 0)
    lines = [json.loads(line) for line in collection.output.read_text().splitlines()]
    assert sorted((line["_ng_task_index"], line["_ng_rollout_index"]) for line in lines) == [
        (task, repeat) for task in range(4) for repeat in range(2)
    ]
    assert all(line["reward"] == 1.0 and line["agent_ref"]["name"] for line in lines)
    assert len(collection.materialized.read_text().splitlines()) == 8 and not collection.failures.read_bytes()
    entries = json.loads(collection.metrics.read_text())
    assert [entry["agent_ref"]["name"] for entry in entries] == ["ledger", "math"]
    assert entries[1]["key_metrics"]["mean/reward"] == 1.0 and entries[1]["agent_metrics"]["pass@2/accuracy"] == 100.0

    torn = collection.output.read_bytes().splitlines(keepends=True)
    collection.output.write_bytes(b"".join(torn[:5]) + torn[5][:40])
    asked = len(policy.asked)
    again = await collection.run(rows, made.head.url, resume=True)
    assert again.scored == 8 and len(policy.asked) > asked
    assert len(collection.output.read_text().splitlines()) == 8


async def test_a_collection_tells_failures_apart_and_ends_nothing(
    gym: tuple[Gym, KnowingPolicy], tmp_path: Path
) -> None:
    made, policy = gym
    policy.broken = True
    rows = tmp_path / "rows.jsonl"
    rows.write_bytes(msgspec.json.encode(made.math[0]) + b"\n")
    collection = Collection(tmp_path / "rollouts.jsonl")
    counts = await collection.run(rows, made.head.url)
    assert (counts.scored, counts.failed) == (0, 1)
    (failure,) = [json.loads(line) for line in collection.failures.read_text().splitlines()]
    assert failure["_ng_failure_class"] and "policy_error" in failure["failure_reason"] and "reward" not in failure
    rows.write_text('{"a": 1}\nnonsense\n')
    with pytest.raises(BadRow, match="line 2"):
        await collection.run(rows, made.head.url)


def test_a_head_without_environments_is_refused() -> None:
    with pytest.raises(BadRequest, match="environment"):
        build_head(HeadConfig())
