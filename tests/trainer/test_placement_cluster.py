"""Two Ray nodes on this machine: places are reserved together, a lost node is typed, another takes its part."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from trainer.placement import ActorDied, NoRoom, RayPlacement

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::UserWarning"
)
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
