"""Runs in NeMo Gym's own environment: its aggregation over the rollouts of a file, as JSON on the last line."""

import json
import sys
import warnings

from nemo_gym.reward_profile import compute_aggregate_metrics

warnings.simplefilter("ignore")
with open(sys.argv[1]) as file:
    print(json.dumps(compute_aggregate_metrics(json.load(file)).model_dump()))
