"""The TRL example: its rollout function against a live gym, and TRL itself for two steps where its peer was made."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from peer_python import peer_python
from whole_gym import Gym, KnowingPolicy

from agent_server.app import build_app as agent_app
from agent_server.config import AgentConfig
from gym_core.serve import start

ROOT = Path(__file__).parent.parent.parent


class Saved:
    """A model that saves one tensor."""

    def save_pretrained(self, folder: str) -> None:
        import torch
        from safetensors.torch import save_file

        save_file({"w": torch.ones(3)}, Path(folder) / "model.safetensors")


async def test_the_rollout_function_gives_tokens_masks_and_rewards_in_the_order_of_the_prompts(
    gym: tuple[Gym, KnowingPolicy], example: Callable[[str], ModuleType]
) -> None:
    made, policy = gym
    module = example("trl/rollouts.py")
    rows = [*made.math[:2], made.ledger[0]]
    prompts = [module.messages(row) for row in (rows[0], rows[0], rows[2], rows[1])]
    trainer = SimpleNamespace(state=SimpleNamespace(global_step=0), model=Saved())

    def two_steps() -> tuple[dict[str, Any], dict[str, Any]]:
        with module.Rollouts(made.agent.url, made.policy.url, rows, temperature=1.0) as rollouts:
            first = rollouts(prompts, trainer)
            trainer.state.global_step = 1
            return first, rollouts(prompts, trainer)

    first, second = await asyncio.to_thread(two_steps)
    assert first["reward"] == second["reward"] == [1.0] * 4
    assert first["prompt_ids"][0] == [7, 8] and first["completion_ids"][0] == [100, 101, 102]
    assert first["env_mask"][0] == [1, 1, 1] and first["logprobs"][0] == [-0.5] * 3
    turns = len(made.scripts[rows[2]["task_id"]].calls) + 1
    assert sum(first["env_mask"][2]) == 3 * turns and len(first["completion_ids"][2]) == 3 * turns + 2 * (turns - 1)
    assert policy.version == 1 and len(policy.published) == 1, "weights go out once a step, and not before the first"
    assert module.reward([], first["reward"]) == [1.0] * 4


async def test_a_rollout_that_fails_is_played_again_and_never_rewarded(
    gym: tuple[Gym, KnowingPolicy], example: Callable[[str], ModuleType]
) -> None:
    made, policy = gym
    module = example("trl/rollouts.py")
    policy.broken = True
    trainer = SimpleNamespace(state=SimpleNamespace(global_step=0), model=Saved())

    def play() -> None:
        with module.Rollouts(made.agent.url, made.policy.url, made.math) as rollouts:
            rollouts([module.messages(made.math[0])], trainer)

    with pytest.raises(RuntimeError, match="failed 3 times: policy_error"):
        await asyncio.to_thread(play)


@pytest.mark.slow
@pytest.mark.peers
async def test_trl_trains_a_tiny_hybrid_for_two_steps(gym: tuple[Gym, KnowingPolicy], tmp_path: Path) -> None:
    """TRL in its own environment, our embedded engine, and weights that go from the one to the other."""
    import torch

    from gym_core.client import Client
    from model.checkpoint import save_pretrained
    from model.config import HybridConfig
    from model.stack import HybridModel
    from model.tokenizer import Tokenizer
    from palaestra.policies import policy_config, served_app

    python = peer_python("trl")
    torch.manual_seed(0)
    tokenizer = Tokenizer.train(["What is 2 + 3? The answer is 5."] * 20, vocab_size=320)
    save_pretrained(HybridModel(HybridConfig.tiny(tokenizer.vocab_size), seed=0), tmp_path / "model")
    tokenizer.save(tmp_path / "model")
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(await start(served_app(policy_config(tmp_path / "model"))))
        config = AgentConfig(environments={"math": f"{gym[0].environments.url}/math"}, policy_url=served.url)
        agent = await stack.enter_async_context(await start(agent_app(config)))
        arguments = ["--agent", agent.url, "--policy", served.url, "--model", str(tmp_path / "model"), "--cpu",
                     "--environment", "math", "--tasks", "8", "--steps", "2", "--prompts", "2", "--group-size", "2",
                     "--output", str(tmp_path / "out")]  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            str(python), str(ROOT / "examples" / "trl" / "train.py"), *arguments,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await asyncio.wait_for(process.communicate(), 300)
        assert process.returncode == 0, err.decode()[-3000:]
        client = await stack.enter_async_context(Client(served.url))
        version = (await client.get_json("/version"))["version"]
    steps = [json.loads(line) for line in out.decode().splitlines() if line.startswith('{"step"')]
    assert [step["step"] for step in steps] == [1, 2] and version == 1
    assert all(0.0 <= step["reward"] <= 1.0 for step in steps)
    assert (tmp_path / "out" / "model.safetensors").exists()
