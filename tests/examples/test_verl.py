"""The verl example's own parts against a live gym; verl's classes are stood in for by empty ones."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import httpx
import pytest
from whole_gym import Gym, KnowingPolicy

from gym_core.contracts import Outcome, Rollout
from gym_core.sdk import Played


@pytest.fixture
def verl(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """`verl.experimental.agent_loop.agent_loop` with the four names that the example imports."""
    module = ModuleType("agent_loop")

    class Base:
        def __init__(self, config: Any) -> None:
            self.config = config

    def register(_: str) -> Callable[[type], type]:
        return lambda kind: kind

    vars(module).update(
        AgentLoopBase=Base, AgentLoopMetrics=dict, AgentLoopOutput=lambda **fields: fields, register=register
    )
    for depth, name in enumerate(("verl", "verl.experimental", "verl.experimental.agent_loop")):
        monkeypatch.setitem(sys.modules, name, ModuleType(f"level{depth}"))
    monkeypatch.setitem(sys.modules, "verl.experimental.agent_loop.agent_loop", module)
    return module


async def test_a_sample_of_the_agent_loop_is_a_rollout(
    gym: tuple[Gym, KnowingPolicy], example: Callable[[str], ModuleType], verl: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("PALAESTRA_AGENT", gym[0].agent.url)
    module = example("verl/agent_loop.py")
    config = SimpleNamespace(actor_rollout_ref=SimpleNamespace(rollout=SimpleNamespace(response_length=64)))
    loop = module.PalaestraAgentLoop(config)
    row = gym[0].ledger[0]
    output = await loop.run({"temperature": 0.7, "top_p": 0.9, "logprobs": True}, extra_info={"row": row})
    assert output["reward_score"] == 1.0 and output["prompt_ids"] == [7, 8]
    turns = len(gym[0].scripts[row["task_id"]].calls) + 1
    assert sum(output["response_mask"]) == 3 * turns and output["num_turns"] == 2 * turns
    assert len(output["response_ids"]) == len(output["response_mask"]) == len(output["response_logprobs"])
    asked = gym[1].asked[0]
    assert (asked["temperature"], asked["top_p"], asked["max_output_tokens"]) == (0.7, 0.9, 64)
    failed = Played(Rollout(rollout_id="r", environment="e", task_id="t", outcome=Outcome.ENV_ERROR))
    with pytest.raises(RuntimeError, match="env_error"):
        module.fields(failed)
    await loop._client.close()


async def test_the_reward_function_asks_the_environment(
    gym: tuple[Gym, KnowingPolicy], example: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PALAESTRA_ENVIRONMENTS", gym[0].environments.url)
    module = example("verl/reward.py")
    row = gym[0].math[0]
    right = gym[0].scripts[row["task_id"]].reply

    def scores() -> list[float]:
        return [module.compute_score("x", said, "", {"row": row})["score"] for said in (right, "no idea")]

    assert await asyncio.to_thread(scores) == [1.0, 0.0]
    with pytest.raises(httpx.HTTPStatusError):
        await asyncio.to_thread(module.compute_score, "x", "y", "", {"row": gym[0].ledger[0]})
    module._client.close()


async def test_the_data_set_carries_its_rows(
    gym: tuple[Gym, KnowingPolicy], example: Callable[[str], ModuleType], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    module = example("verl/dataset.py")
    out = tmp_path / "train.jsonl"
    given = ["dataset.py", "math", str(out), "--agent", gym[0].agent.url, "--count", "3", "--seed", "11"]
    monkeypatch.setattr(sys, "argv", given)
    await asyncio.to_thread(module.main)
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert [record["extra_info"]["row"] for record in records] == gym[0].math
    assert records[0]["prompt"][-1]["role"] == "user" and records[0]["agent_name"] == "palaestra"
