"""NeMo Gym itself, from its own environment (`make peers`): its client on our head, its servers under our agent."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from fakes import FakePolicy, call, message
from whole_gym import nemo_gym_server, open_gym, run_driver

from agent_server.app import build_app as agent_app
from agent_server.config import AgentConfig
from gym_core.aggregate import aggregate
from gym_core.client import Client
from gym_core.registry import Registry
from gym_core.serve import start
from gym_core.server import build_app

pytestmark = [pytest.mark.peers, pytest.mark.slow]

DRIVERS = Path(__file__).parent / "drivers"


@pytest.mark.parametrize("version", ["nemo-gym", "nemo-gym-0.4"])
async def test_their_collection_plays_our_environments(
    version: str, peer: Callable[[str], Path], tmp_path: Path
) -> None:
    python = peer(version)
    async with AsyncExitStack() as stack:
        gym, _ = await open_gym(stack, tmp_path)
        rows = [*gym.math, *gym.ledger]
        for number, row in enumerate(rows):
            alias = "math_with_judge_simple_agent" if row["environment"] == "math" else "ledger_simple_agent"
            row |= {"_rowidx": number, "_ng_task_index": number, "_ng_rollout_index": 0}
            if version == "nemo-gym" and number % 2:
                row["task_source"] = alias  # 0.7 resolves it by the configuration that the head tells
            else:
                row["agent_ref"] = {"type": "responses_api_agents", "name": alias}
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        at = urlsplit(gym.head.url)
        said: dict[str, Any] = await run_driver(
            python, DRIVERS / "nemo_gym_client.py", str(at.hostname), str(at.port), str(path)
        )
    assert sorted(one["row"] for one in said["played"]) == list(range(6))
    assert all(one["result"]["reward"] == 1.0 for one in said["played"])
    for one in said["played"]:
        seen: list[int] = []
        for item in one["result"]["response"]["output"]:
            if item.get("generation_token_ids"):
                assert item["prompt_token_ids"][: len(seen)] == seen
                seen = item["prompt_token_ids"] + item["generation_token_ids"]
        assert seen
    assert said["metrics"]["key_metrics"]["mean/reward"] == 1.0
    assert len(said["metrics"]["group_level_metrics"]) == 6
    assert said["verified"] == 1.0


def examples(python: Path, name: str) -> list[dict[str, Any]]:
    """The example rows that a resources server of theirs is published with."""
    (path,) = python.parent.parent.glob(f"lib/python*/site-packages/resources_servers/{name}/data/example.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


async def play_theirs(stack: AsyncExitStack, python: Path, name: str, tmp_path: Path, policy: FakePolicy) -> Client:
    """Our agent with one of their servers as its environment `name`."""
    url = await stack.enter_async_context(nemo_gym_server(python, name, tmp_path / f"{name}.log"))
    brain = await stack.enter_async_context(await start(policy.app()))
    config = AgentConfig(environments={name: f"nemo_gym+{url}"}, policy_url=brain.url, environment_s=60.0)
    agent = await stack.enter_async_context(await start(agent_app(config)))
    return await stack.enter_async_context(Client(agent.url))


async def test_our_agent_plays_their_stateful_counter(peer: Callable[[str], Path], tmp_path: Path) -> None:
    python, name = peer("nemo-gym"), "example_session_state_mgmt"
    row = {**examples(python, name)[0], "task_source": name}
    policy = FakePolicy(
        [call("increment_counter", '{"count": 1}')],
        [call("increment_counter", '{"count": "none"}', "c2")],
        [call("increment_counter", "{", "c3")],
        [call("increment_counter", '{"count": 2}', "c4")],
        [call("get_counter_value", "{}", "c5")],
        [message("six")],
    )
    async with AsyncExitStack() as stack:
        client = await play_theirs(stack, python, name, tmp_path, policy)
        right = await client.post_json("/run", row)
        wrong = await client.post_json("/run", {**row, "initial_count": 4})
    assert (right["reward"], wrong["reward"]) == (1.0, 0.0), "each rollout has a session of its own"
    outputs = [item["output"] for item in right["response"]["output"] if item["type"] == "function_call_output"]
    assert json.loads(outputs[0]) == {"success": True} and json.loads(outputs[4]) == {"count": 6}
    assert "int_parsing" in outputs[1] and "Invalid tool call arguments" in outputs[2]
    assert right["usage"]["tool_errors"] == 2 and right["verdict"]["grading"] == "published"
    assert right["environment_version"].startswith("nemo_gym-")


async def test_our_agent_plays_their_choices_and_their_components(peer: Callable[[str], Path], tmp_path: Path) -> None:
    python = peer("nemo-gym")
    async with AsyncExitStack() as stack:
        row = {**examples(python, "mcqa")[0], "agent_ref": {"name": "mcqa"}}
        said = FakePolicy([message(f"\\boxed{{{row['expected_answer']}}}")])
        client = await play_theirs(stack, python, "mcqa", tmp_path, said)
        assert (await client.post_json("/run", row))["reward"] == 1.0
        said.turns = ([message("\\boxed{Z}")],)
        assert (await client.post_json("/run", row))["reward"] == 0.0
        broken = await client.post_json("/run", {**row, "responses_create_params": {"input": "x", "nonsense": 1}})
        assert broken["outcome"] == "env_error" and broken["reward"] is None and "422" in broken["error"]["message"]

    async with AsyncExitStack() as stack:
        name = "example_tool_call_multireward"
        row = {**examples(python, name)[0], "agent_ref": {"name": name}}
        right = call("get_weather", json.dumps(row["expected_call"]["arguments"]))
        client = await play_theirs(stack, python, name, tmp_path, FakePolicy([right], [message("sunny")]))
        rollout = await client.post_json("/run", row)
    assert rollout["reward_components"] == {"correctness": 1.0, "schema_valid": 1.0, "format": 0.0}
    assert rollout["reward"] == 2.0


async def test_their_workplace_and_ours_say_the_same(
    peer: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their published rows over their data, by the ground truth, by nobody, and half: two servers, one opinion."""
    python, name = peer("nemo-gym"), "workplace_assistant"
    rows = examples(python, name)
    (data,) = python.parent.parent.glob(f"lib/python*/site-packages/resources_servers/{name}/csv_data")
    monkeypatch.setenv("PALAESTRA_WORKPLACE_DATA", str(data))
    rewards: dict[str, list[tuple[float, ...]]] = {"theirs": [], "ours": []}
    async with AsyncExitStack() as stack:
        registry = Registry.discover()
        served = await stack.enter_async_context(await start(build_app([registry.load("workplace")])))
        policy = FakePolicy([message("done")])
        theirs = await play_theirs(stack, python, name, tmp_path, policy)
        brain = await stack.enter_async_context(await start(policy.app()))
        config = AgentConfig(environments={name: f"{served.url}/workplace"}, policy_url=brain.url)
        ours = await stack.enter_async_context(
            Client((await stack.enter_async_context(await start(agent_app(config)))).url)
        )
        for row in rows:
            steps = [[call(step["name"], step["arguments"], f"c{n}")] for n, step in enumerate(row["ground_truth"])]
            scripts = ([*steps, [message("done")]], [[message("done")]], [*steps[:-1], [message("done")]])
            for key, client in (("theirs", theirs), ("ours", ours)):
                found = []
                for script in scripts:
                    policy.turns = tuple(script)
                    asked = {**row, "palaestra": {"grading": "strict"}}
                    found.append((await client.post_json("/run", asked))["reward"])
                rewards[key].append(tuple(found))
    assert rewards["theirs"] == rewards["ours"]
    assert {found[0] for found in rewards["ours"]} == {1.0}


async def test_their_numbers_and_ours_agree(peer: Callable[[str], Path], tmp_path: Path) -> None:
    """The same scored rollouts through their aggregation and ours."""
    rollouts = [
        {"_ng_task_index": task, "_ng_rollout_index": repeat, "reward": float((task + repeat) % 2), "extra": 0.1 * task,
         "exact": repeat == 1, "name": "x", "response": {"usage": {"output_tokens": 10 * repeat + task}}}
        for task in range(3) for repeat in range(4)
    ]  # fmt: skip
    path = tmp_path / "rollouts.json"
    path.write_text(json.dumps(rollouts))
    theirs = await run_driver(peer("nemo-gym"), DRIVERS / "nemo_gym_aggregate.py", str(path))
    ours = aggregate(rollouts)
    for name, value in theirs["key_metrics"].items():
        assert ours["key_metrics"][name] == pytest.approx(value), name
    for name, value in theirs["agent_metrics"].items():
        if name.split("/")[0] in ("mean", "max", "min", "median", "std", "num_repeats") and "repeat" not in name:
            assert ours["agent_metrics"][name] == pytest.approx(value), name
    for one, other in zip(theirs["group_level_metrics"], ours["group_level_metrics"], strict=True):
        for name in ("mean/reward", "std/reward", "max/output_tokens", "median/exact", "_ng_task_index"):
            assert other[name] == pytest.approx(one[name]), name
