"""Two Ray nodes on this machine: places are reserved together, a lost node is typed, another takes its part."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gym_core.client import Client
from gym_core.serve import start
from model import checkpoint, weight_layout
from model.checkpoint import save_pretrained
from model.config import HybridConfig
from model.stack import HybridModel
from model.tokenizer import Tokenizer
from policy_server.app import build_app
from policy_server.config import PolicyConfig
from policy_server.launch import embed
from trainer import transports
from trainer.config import parse_recipe
from trainer.placement import ActorDied, NoRoom, RayPlacement
from trainer.publisher import WeightPublisher
from trainer.sharded_learner import build_sharded_learner

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::UserWarning"
)
CONFIG = HybridConfig.tiny(300, hybrid_override_pattern="ME*")
BUNDLES = [{"CPU": 1}, {"CPU": 1}]
NODE = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}


class Place:
    """Says where it lives."""

    def node(self) -> str:
        import ray

        return str(ray.get_runtime_context().get_node_id())


@pytest.fixture
def cluster() -> Iterator[Any]:
    import ray
    from ray.cluster_utils import Cluster

    started = Cluster(initialize_head=True, head_node_args=NODE)
    yield started
    ray.shutdown()
    started.shutdown()


async def test_a_node_that_is_lost_is_typed_and_its_places_are_found_again(cluster: Any) -> None:
    second = cluster.add_node(**{key: value for key, value in NODE.items() if key != "include_dashboard"})
    placement = RayPlacement(cluster.address, bundles=BUNDLES, strategy="STRICT_SPREAD", call_timeout_s=120)
    handles = [await placement.place(Place), await placement.place(Place)]
    nodes = [await handle.call("node") for handle in handles]
    assert len(set(nodes)) == 2 and await placement.lost() == []

    cluster.remove_node(second)
    gone = handles[nodes.index(second.node_id)]
    with pytest.raises(ActorDied, match="Place died during `node`"):
        await gone.call("node")
    assert await placement.lost() == ["Place"]

    await placement.renew()
    tight = RayPlacement(cluster.address, bundles=BUNDLES, strategy="STRICT_SPREAD", room_within_s=5)
    with pytest.raises(NoRoom, match="no room for"):
        await tight.place(Place)
    third = cluster.add_node(**{key: value for key, value in NODE.items() if key != "include_dashboard"})
    again = [await placement.place(Place), await placement.place(Place)]
    assert {await handle.call("node") for handle in again} == {nodes[1 - nodes.index(second.node_id)], third.node_id}
    await placement.close()


async def test_a_learner_spread_over_the_nodes_sends_its_weights_to_a_policy_elsewhere(
    cluster: Any, tmp_path: Path
) -> None:
    """Process 0 posts them itself: the program only says where to."""
    cluster.add_node(**{key: value for key, value in NODE.items() if key != "include_dashboard"})
    placement = RayPlacement(cluster.address, bundles=BUNDLES, strategy="STRICT_SPREAD", call_timeout_s=120)
    assert await placement.machines() == 1, "two nodes, and both are here"
    save_pretrained(HybridModel(CONFIG, seed=4), tmp_path / "first")
    recipe = parse_recipe({"name": "r", "environments": {"a": {}}, "layout": {"dp": 2, "ep": 2}})
    learner = await placement.place_ranks(2, build_sharded_learner, recipe, str(tmp_path / "first"))
    tokenizer = Tokenizer.train(["two and three"] * 20, vocab_size=300)
    settings = PolicyConfig(num_slots=2, num_prefixes=0, max_length=64)
    engine = embed(HybridModel(CONFIG, seed=9), tokenizer, settings).start()
    async with await start(build_app(engine, tokenizer)) as served, Client(served.url) as client:
        publisher = WeightPublisher(client, [[1, 2, 3], [4, 5]], transport=transports.make("http"))
        await publisher.publish(learner, 1)
    held = dict(checkpoint.state_tensors(engine.model))
    assert weight_layout.checksums(held.items()) == weight_layout.checksums(
        checkpoint.state_tensors(HybridModel(CONFIG, seed=4))
    )
    await engine.close()
    await placement.close()
