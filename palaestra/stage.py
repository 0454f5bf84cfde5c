"""A checkpoint on stage: environments, a policy server and an agent server around it, for as long as a block runs."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gym_core.serve import start
from palaestra.house import connect, start_agent, start_environments
from palaestra.policies import policy_config, served_app
from trainer.collect import AgentPool
from trainer.config import Recipe

DEADLINE_S = 120.0


@dataclass(slots=True, frozen=True)
class Stage:
    """`agents` plays rows; `environment_url` has each environment of the recipe under its name."""

    agents: AgentPool
    environment_url: str


@asynccontextmanager
async def on_stage(checkpoint: Path, recipe: Recipe, run_id: str, *, num_slots: int = 192) -> AsyncIterator[Stage]:
    """Serve the checkpoint beside the recipe's environments; everything ends with the block, and so do its rollouts."""
    config = policy_config(checkpoint, num_slots=num_slots, max_length=recipe.policy.max_length or None)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="palaestra-stage-")))
        environments = await start_environments(list(recipe.environments), folder, stack)
        policy = await stack.enter_async_context(await start(served_app(config)))
        urls = {name: f"{environments.url}/{name}" for name in recipe.environments}
        agent = await start_agent(urls, policy.url, folder / "store.db", folder, stack)
        client = await stack.enter_async_context(connect(agent.url, retries=0))
        agents = AgentPool(client, run_id=run_id, seed=recipe.seed, deadline_s=DEADLINE_S)
        yield Stage(agents, environments.url)
