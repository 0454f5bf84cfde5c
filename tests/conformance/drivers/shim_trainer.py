"""What a trainer does with the names that it imports from `nemo_gym`, in the order NeMo RL and verl's recipe do it.

python shim_trainer.py CONFIG.json ROWS.jsonl        one line of JSON at the end
"""

import asyncio
import json
import pickle
import sys

from nemo_gym.cli import GlobalConfigDictParserConfig, RunHelper
from nemo_gym.global_config import get_global_config_dict
from nemo_gym.rollout_collection import RolloutCollectionHelper
from nemo_gym.server_utils import HEAD_SERVER_KEY_NAME, BaseServerConfig, ServerClient, close_session


def message_log(output):
    """Their walk over the output items, with their test for contiguity."""
    seen, trained = [], 0
    for item in output:
        if "generation_token_ids" not in item:
            continue
        assert item["prompt_token_ids"][: len(seen)] == seen, "not contiguous"
        assert len(item["generation_token_ids"]) == len(item["generation_log_probs"])
        trained += len(item["generation_token_ids"])
        seen = item["prompt_token_ids"] + item["generation_token_ids"]
    return trained


async def collect(helper, rows, head):
    results, errors = [], []
    iterator = helper.run_examples(examples=rows, head_server_config=head)
    assert all(row["agent_ref"]["name"] for row in rows)
    for task in iterator:
        try:
            row, result = await task
        except Exception as error:
            copy = pickle.loads(pickle.dumps(error))
            errors.append({"status": copy.status, "content": error.response_content.decode()})
            continue
        results.append(
            {"row": row["_rowidx"], "reward": result["reward"], "trained": message_log(result["response"]["output"])}
        )
    client = ServerClient.load_from_global_config(head)
    reply = await client.get(rows[0]["agent_ref"]["name"], "/")
    alive = await reply.json()
    routed = helper.run_examples(
        [dict(row) for row in rows], head, route_failures_to_sidecar=True, max_resident_tasks=2
    )
    classes = sorted([(await task)[1].get("_ng_failure_class", "") for task in routed])
    await close_session()
    return {"results": results, "errors": errors, "alive": alive, "classes": classes}


def main(config_path, rows_path):
    with open(config_path) as file:
        config = json.load(file)
    with open(rows_path) as file:
        rows = [json.loads(line) for line in file]
    helper = RunHelper()
    helper.start(
        global_config_dict_parser_config=GlobalConfigDictParserConfig(
            dotenv_path=None, initial_global_config_dict=config, skip_load_from_cli=True
        )
    )
    try:
        head = BaseServerConfig(host="127.0.0.1", port=config[HEAD_SERVER_KEY_NAME]["port"])
        helper.poll()
        agents = [n for n, kinds in get_global_config_dict().items() if "responses_api_agents" in (kinds or {})]
        said = asyncio.run(collect(RolloutCollectionHelper(), rows, head))
    finally:
        helper.shutdown()
    try:
        RolloutCollectionHelper.resolve_task_sources([{"task_source": "nowhere"}], get_global_config_dict())
    except ValueError as error:
        said["unknown"] = str(error)
    print(json.dumps({**said, "agents": agents}))


main(*sys.argv[1:])
