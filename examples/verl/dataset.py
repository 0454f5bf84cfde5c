"""Palaestra's tasks as a parquet file of verl: `python examples/verl/dataset.py math train.parquet --count 512`."""

from __future__ import annotations

import argparse
import json
from typing import Any

from gym_core.sdk import Client


def record(row: dict[str, Any], number: int) -> dict[str, Any]:
    """One row as verl reads it. Hidden fields are not in it: the row names its task, and the environment grades it."""
    given = row["responses_create_params"]["input"]
    prompt = [{"role": "user", "content": given}] if isinstance(given, str) else given
    return {
        "data_source": f"palaestra/{row['environment']}",
        "prompt": prompt,
        "agent_name": "palaestra",
        "reward_model": {"style": "rule", "ground_truth": ""},
        "extra_info": {"index": number, "row": row},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("environment")
    parser.add_argument("output")
    parser.add_argument("--agent", default="http://127.0.0.1:8100")
    parser.add_argument("--count", type=int, default=512)
    parser.add_argument("--level", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with Client(options.agent) as client:
        rows = client.tasks(options.environment, count=options.count, level=options.level, seed=options.seed)
    records = [record(row, number) for number, row in enumerate(rows)]
    if options.output.endswith(".parquet"):
        from datasets import Dataset

        Dataset.from_list(records).to_parquet(options.output)
    else:
        with open(options.output, "w") as file:
            file.writelines(json.dumps(one) + "\n" for one in records)
    print(f"{len(records)} tasks in {options.output}")


if __name__ == "__main__":
    main()
