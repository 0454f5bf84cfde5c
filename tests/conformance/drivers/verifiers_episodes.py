"""Runs in verifiers' own environment: whole episodes of its null harness, tools through its MCP bridge.

python verifiers_episodes.py RESOURCES_URL POLICY_URL ROWS.jsonl        one line of JSON at the end
"""

import asyncio
import json
import os
import sys

import verifiers.v1 as vf


async def main(url, policy, rows):
    os.environ["PEER_KEY"] = "none"
    agent = {"harness": {"id": "null"}, "runtime": {"type": "subprocess"}}
    taskset = {"id": "nemo_gym", "dataset": rows, "task": {"resources_url": url}}
    env = vf.load_environment(vf.resolve_env_config({"taskset": taskset, "agent": agent}))
    client = vf.EvalClientConfig(base_url=f"{policy}/v1", api_key_var="PEER_KEY")
    context = vf.ModelContext(client=client, model="m", sampling=vf.SamplingConfig())
    said = []
    async with env.serving():
        for task in env.taskset.load():
            (slot,) = env.slots(task)
            episode = await env.run_slot(slot, context)
            (trace,) = episode.traces
            said.append({"ok": episode.ok, "errors": [str(one) for one in episode.errors], "reward": trace.reward})
    print(json.dumps(said))


asyncio.run(main(*sys.argv[1:]))
