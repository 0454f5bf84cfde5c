"""The services of a run, started and connected: policy, agent, publisher, task pools.

What is named in `Services` is used as it is; the rest is placed or started here, and ends with `line.connected`.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from gym_core.serve import start
from palaestra.heldout import heldout_rows
from palaestra.hosted import node_address
from palaestra.house import connect, draw_tasks, start_agent, start_environments
from palaestra.line import Line
from palaestra.replicas import placed_app
from palaestra.services import hand_over, num_addresses
from palaestra.stage import DEADLINE_S
from palaestra.transport import transport_of
from palaestra.warming import place_learner_of
from trainer.collect import AgentPool
from trainer.publisher import WeightPublisher, probe_rows


async def connect_line(line: Line) -> None:
    """Policy server, agent server, publisher and task pools."""
    recipe, folder, stack = line.recipe, line.folder, line.connected
    line.view.phase("starting policy and agent")
    policy_url = await _policy(line)
    if recipe.environment_actors:
        line.environment_urls = await _place_environments(line)
    agent_url = line.services.agent
    if not agent_url:
        urls = {name: f"{url}/{name}" for name, url in line.environment_urls.items()}
        store = line.services.store or folder.store
        agent_url = (await start_agent(urls, policy_url, store, folder.path / "logs", stack)).url
    _tell_services(line, agent_url, policy_url)
    agent_client = await stack.enter_async_context(connect(agent_url, retries=0))
    line.agents = AgentPool(
        agent_client,
        run_id=folder.run_id,
        seed=recipe.seed,
        deadline_s=DEADLINE_S,
        streams=await num_addresses(line.services.agent),
    )
    policy_client = await stack.enter_async_context(connect(policy_url))
    vocab_size = await line.learner.call("vocab_size")
    line.publisher = WeightPublisher(
        policy_client,
        probe_rows(vocab_size, seed=recipe.seed),
        transport=await transport_of(line),
        switch=recipe.policy.switch,
        gate=recipe.grpo.mismatch_gate,
        timeout_s=recipe.policy.publish_s,
    )
    stack.push_async_callback(line.publisher.close)
    line.heldout_rows = await heldout_rows(line.environment_urls, recipe)
    for name, mix in recipe.environments.items():
        line.train_rows[name] = await draw_tasks(
            line.environment_urls[name], name, seed=recipe.seed, level=mix.level, count=mix.tasks, split="train"
        )


async def environments_of(line: Line, stack: AsyncExitStack) -> str:
    """Where all environments are served: as was named, else by a process started now."""
    if line.services.environments:
        return line.services.environments.rstrip("/")
    return (await start_environments(list(line.recipe.environments), line.folder.path / "logs", stack)).url


async def _place_environments(line: Line) -> dict[str, str]:
    """Environments dealt out to actors, which go where there is least; where each is served, by name."""
    from palaestra.hosted import EnvironmentHost

    names = list(line.recipe.environments)
    found: dict[str, str] = {}
    for number in range(min(line.recipe.environment_actors, len(names))):
        served = names[number :: line.recipe.environment_actors]
        host = await line.placement.place(EnvironmentHost, served)
        found |= dict.fromkeys(served, await host.call("url"))
    return found


def _tell_services(line: Line, agent_url: str, policy_url: str) -> None:
    """For dashboards, while they run."""
    hosts = list(dict.fromkeys(line.environment_urls.values()))
    services = {f"environments-{number}" if number else "environments": url for number, url in enumerate(hosts)}
    line.folder.write_json("services.json", services | {"agent": agent_url, "policy": policy_url})


async def connect_again(line: Line) -> None:
    """New places for learner and policy, after one of them was lost; the learner takes its state from a checkpoint."""
    await line.connected.aclose()
    await line.placement.renew()
    await place_learner_of(line, str(line.folder.before))
    await connect_line(line)


async def _policy(line: Line) -> str:
    """Where the warm start is served: by the server that was named, else by an engine placed now."""
    from palaestra.placed import PolicyHost
    from policy_server.config import PolicyConfig

    recipe, folder = line.recipe, line.folder
    settings: dict[str, Any] = {"num_slots": 192, "enable_thinking": False}
    settings["deterministic"] = recipe.policy.deterministic
    if recipe.policy.max_length:
        settings["max_length"] = recipe.policy.max_length
    if line.services.policy:
        await hand_over(line.services, folder.before.absolute(), folder.run_id, **settings)
        return line.services.policy
    config = PolicyConfig(checkpoint=str(folder.before), **settings)
    if recipe.policy.replicas > 1:
        # Half the publisher's patience: a replica that is too slow is replaced before the publication is given up.
        app = placed_app(line.placement, recipe.policy.replicas, config, publish_s=recipe.policy.publish_s / 2)
        host = node_address()  # a learner on another node sends the router its weights
        return (await line.connected.enter_async_context(await start(app, host))).url
    line.policy = await line.placement.place(PolicyHost, config)
    return str(await line.policy.call("url"))
