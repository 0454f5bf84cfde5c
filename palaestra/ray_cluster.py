"""A Ray of this machine for one run: small, quiet, gone with the run."""

from __future__ import annotations

import logging
import os

from trainer.placement import RayPlacement

OBJECT_STORE_BYTES = 96 << 20


def local_ray(num_cpus: int = 2) -> RayPlacement:
    """Start Ray with as little as the run needs, or join the cluster that `RAY_ADDRESS` names."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    if not ray.is_initialized():
        address = os.environ.get("RAY_ADDRESS")
        options = {} if address else {"num_cpus": num_cpus, "object_store_memory": OBJECT_STORE_BYTES}
        ray.init(
            address=address,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            **options,
        )
    return RayPlacement()
