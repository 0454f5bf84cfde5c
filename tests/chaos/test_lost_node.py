"""A node of a Ray cluster is lost while a run trains on it: the run places what was there again and ends well."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import psutil
import pytest
import test_killed_training as training

from trainer.journal import Journal

NODE = {"num_cpus": 1, "object_store_memory": 80 << 20}


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Room for two on the head, one each on two other nodes: a run of three places needs one of these."""
    from ray.cluster_utils import Cluster

    head = NODE | {"num_cpus": 2, "include_dashboard": False}
    started = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        started.add_node(**NODE)
    yield started
    started.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::ResourceWarning", "ignore::DeprecationWarning")
async def test_a_run_that_loses_a_node_goes_on_by_itself(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, *others = (node.all_processes["raylet"][0].process.pid for node in cluster.list_all_nodes())

    def node_of_a_place(parent: psutil.Process) -> psutil.Process:
        """The raylet of the node besides the head that has a replica, or the learner where both have one place."""
        with urlopen(f"{training.policy_url(parent)}/replicas", timeout=30) as reply:
            ports = {urlsplit(row["url"]).port for row in json.loads(reply.read())}
        listening = [each for each in psutil.net_connections("tcp") if each.status == psutil.CONN_LISTEN]
        replicas = [psutil.Process(each.pid) for each in listening if each.laddr.port in ports]
        assert len(replicas) == 2
        raylets = {above.pid for replica in replicas for above in replica.parents()} & {head, *others}
        away = [pid for pid in others if pid in raylets]
        return psutil.Process(away[0] if away else max(others, key=_busy))

    (tmp_path / "tiny.toml").write_text(training.RECIPE + "[policy]\nreplicas = 2\n")
    runs = tmp_path / "runs"
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    ended = await training.command(
        "train", "--recipe", str(tmp_path / "tiny.toml"), "--runs-dir", str(runs), "--json",
        kill_at="GRPO 2/", victim=node_of_a_place,
    )  # fmt: skip
    assert ended.code == 0, ended.told
    (run,) = runs.iterdir()
    entries = Journal(run / "journal.jsonl").entries()
    assert [entry.step for entry in entries] == list(range(training.STEPS))
    assert all(len(members) == training.GROUP for entry in entries for members in entry.groups.values())
    assert json.loads(ended.out)["environments"]["math"]["num_failed"] == 0


def _busy(raylet: int) -> float:
    """CPU seconds of a node's workers: an actor has imported torch, an idle worker nothing."""
    return sum(sum(child.cpu_times()[:2]) for child in psutil.Process(raylet).children(recursive=True))
