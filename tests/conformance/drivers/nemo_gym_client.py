"""Runs in NeMo Gym's own environment: its rollout collection and its server client against a head.

python nemo_gym_client.py HOST PORT ROWS.jsonl        one line of JSON at the end
"""

import asyncio
import json
import sys
import warnings

from nemo_gym.config_types import AggregateMetrics
from nemo_gym.openai_utils import NeMoGymResponse
from nemo_gym.rollout_collection import RolloutCollectionHelper
from nemo_gym.server_utils import BaseServerConfig, ServerClient, get_response_json, raise_for_status

warnings.simplefilter("ignore")


async def main(host, port, path):
    with open(path) as lines:
        rows = [json.loads(line) for line in lines]
    head = BaseServerConfig(host=host, port=int(port))
    played = []
    for number, future in enumerate(RolloutCollectionHelper().run_examples(rows, head_server_config=head)):
        row, result = await future
        NeMoGymResponse.model_validate(result["response"])
        played.append({"row": row["_rowidx"], "agent": row["agent_ref"]["name"], "result": result, "order": number})

    client = ServerClient.load_from_global_config(head)
    light = [
        {**one["result"], "response": {"usage": one["result"]["response"]["usage"]}, "responses_create_params": None}
        for one in played
    ]
    name = played[0]["agent"]
    reply = await client.post(server_name=name, url_path="/aggregate_metrics", json={"verify_responses": light})
    await raise_for_status(reply)
    metrics = AggregateMetrics.model_validate(await get_response_json(reply)).model_dump()

    resources = f"{rows[0]['environment']}_resources"
    reply = await client.post(server_name=resources, url_path="/seed_session", json=rows[0])
    await raise_for_status(reply)
    first = next(one["result"] for one in played if one["row"] == 0)
    body = {**rows[0], "response": first["response"]}
    verified = await client.post(server_name=resources, url_path="/verify", json=body, cookies=reply.cookies)
    await raise_for_status(verified)
    reward = (await get_response_json(verified))["reward"]
    print(json.dumps({"played": played, "metrics": metrics, "verified": reward, "cookies": list(reply.cookies)}))


asyncio.run(main(*sys.argv[1:]))
