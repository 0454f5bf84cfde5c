"""Runs in verifiers' own environment: its NeMoGymTaskset seeds, calls tools and scores against one of our environments.

python verifiers_taskset.py RESOURCES_URL ROWS.jsonl SCRIPTS.json        one line of JSON at the end
"""

import asyncio
import json
import sys

import verifiers.v1 as vf
from verifiers.v1.tasksets.nemo_gym import NeMoGymConfig, NeMoGymTaskConfig, NeMoGymTaskset
from verifiers.v1.tasksets.nemo_gym.toolset import NeMoGymState
from verifiers.v1.types import AssistantMessage, ToolCall, ToolMessage, UserMessage


def node(nodes, message, sampled):
    return vf.MessageNode(parent=len(nodes) - 1 if nodes else None, message=message, sampled=sampled)


async def score(task, script):
    """A rollout whose words are the script's: everything between it and the server is theirs."""
    about = vf.TraceTask(type="nemo_gym", data=task.data, key=task.key, hash=str(task.hash))
    trace = vf.Trace(task=about, agent=vf.AgentInfo(config=vf.AgentConfig()), state=NeMoGymState())
    await task.setup(trace, None)
    nodes = [node([], UserMessage(content="asked"), False)]
    for number, (name, arguments) in enumerate(script["calls"]):
        call = ToolCall(id=f"c{number}", name=name, arguments=json.dumps(arguments))
        nodes.append(node(nodes, AssistantMessage(content=None, tool_calls=[call]), True))
        said = await trace.state.post(name, arguments)
        nodes.append(node(nodes, ToolMessage(tool_call_id=call.id, content=said.text), False))
    nodes.append(node(nodes, AssistantMessage(content=script["reply"]), True))
    trace.nodes = nodes
    await task.score(trace, None)
    return {"reward": trace.reward, "metrics": trace.metrics, "tools": trace.state.tool_names}


async def main(url, rows, scripts):
    with open(scripts) as file:
        known = json.load(file)
    config = NeMoGymConfig(id="nemo_gym", dataset=rows, task=NeMoGymTaskConfig(resources_url=url))
    tasks = list(NeMoGymTaskset(config).load())
    print(json.dumps([await score(task, script) for task, script in zip(tasks, known, strict=True)]))


asyncio.run(main(*sys.argv[1:]))
