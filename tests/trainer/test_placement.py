import asyncio
import os
import signal
import threading

import pytest

from gym_core.errors import BadRequest, DeadlineExceeded
from trainer.placement import ActorDied, LocalPlacement, Placement


class Counter:
    def __init__(self, start: int) -> None:
        if start < 0:
            raise BadRequest("no counter begins under 0", field="start")
        self.value, self.threads = start, {threading.get_ident()}

    def add(self, amount: int, *, times: int = 1) -> int:
        self.threads.add(threading.get_ident())
        value = self.value
        self.value = value + amount * times
        return self.value

    def refuse(self) -> None:
        raise BadRequest("no", field="amount")

    def num_threads(self) -> int:
        return len(self.threads)

    def die(self) -> None:
        os._exit(1)


async def test_local_calls_run_on_one_thread_that_is_not_the_loop() -> None:
    placement = LocalPlacement()
    handle = await placement.place(Counter, 10)
    results = await asyncio.gather(*(handle.call("add", 1, times=2) for _ in range(20)))
    assert sorted(results) == list(range(12, 52, 2))
    assert await handle.call("num_threads") == 1
    with pytest.raises(BadRequest, match="no"):
        await handle.call("refuse")
    await placement.close()


async def test_a_factory_that_fails_fails_the_caller() -> None:
    placement = LocalPlacement()
    with pytest.raises(TypeError):
        await placement.place(Counter)
    await placement.close()


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::ResourceWarning", "ignore::DeprecationWarning")
async def test_the_same_object_as_a_ray_actor() -> None:
    from trainer.placement import RayPlacement

    placement = RayPlacement(num_cpus=0, call_timeout_s=60)
    try:
        handle = await placement.place(Counter, 10)
        assert await handle.call("add", 1, times=2) == 12
        with pytest.raises(BadRequest, match="no") as caught:
            await handle.call("refuse")
        assert caught.value.field == "amount"
        with pytest.raises(ActorDied, match="Counter"):
            await handle.call("die")
        with pytest.raises(ActorDied):
            await handle.call("add", 1)
    finally:
        await placement.close()


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::ResourceWarning", "ignore::DeprecationWarning")
async def test_a_learner_in_an_actor_is_the_learner_here(make_samples) -> None:
    import numpy as np

    from trainer.build import build_learner
    from trainer.config import parse_recipe
    from trainer.placement import RayPlacement

    recipe = parse_recipe({"name": "r", "environments": {"a": {}}, "vocab_size": 32})
    here = build_learner(recipe)
    samples = make_samples(here.model, vocab_size=32)
    placement = RayPlacement(num_cpus=0, call_timeout_s=120)
    try:
        there = await placement.place(build_learner, recipe)
        here.begin("grpo", 1e-3)
        await there.call("begin", "grpo", 1e-3)
        mine, its = here.step(samples), await there.call("step", samples)
        assert its["loss"] == pytest.approx(mine["loss"], rel=1e-5)
        for one, other in zip(here.score([[1, 2, 3]]), await there.call("score", [[1, 2, 3]]), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)
    finally:
        await placement.close()


async def check_apart(placement: Placement) -> None:
    """One that dies is told by name, alone, and the name is placed again; the other never notices."""
    one, other = await asyncio.gather(*(placement.place_apart(f"apart-{n}", Counter, n) for n in range(2)))
    await other.call("add", 5)
    assert await placement.lost() == []
    waiting = asyncio.create_task(one.ended())
    with pytest.raises(ActorDied, match="apart-0"):
        await one.call("die")
    await asyncio.wait_for(waiting, 60)
    assert await placement.lost() == ["apart-0"] and not await one.alive()
    again = await placement.place_apart("apart-0", Counter, 7)
    assert await again.call("add", 0) == 7 and await placement.lost() == []
    again.kill()
    await asyncio.wait_for(again.ended(), 60)
    again.kill()
    assert await other.call("add", 0) == 6
    await placement.renew()
    await asyncio.wait_for(other.ended(), 60)
    assert await (await placement.place_apart("apart-1", Counter, 3)).call("add", 0) == 3
    with pytest.raises(BadRequest, match="no counter begins under 0") as caught:
        await placement.place_apart("apart-0", Counter, -1)
    assert caught.value.field == "start"
    await placement.close()


async def test_processes_apart_die_alone() -> None:
    await check_apart(LocalPlacement())


async def test_what_a_terminal_interrupts_is_the_program_and_not_its_processes() -> None:
    placement = LocalPlacement()
    apart = await placement.place_apart("apart-0", Counter, 2)
    pid = apart._process.pid
    assert pid is not None
    os.kill(pid, signal.SIGINT)
    assert await apart.call("add", 0) == 2 and await apart.alive()
    await placement.close()


async def test_what_a_factory_apart_raises_is_the_callers() -> None:
    placement = LocalPlacement()
    with pytest.raises(TypeError):
        await placement.place_apart("apart-0", Counter)
    assert await (await placement.place_apart("apart-0", Counter, 2)).call("add", 0) == 2
    await placement.close()


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::ResourceWarning", "ignore::DeprecationWarning")
async def test_actors_apart_die_alone_and_keep_their_places() -> None:
    from trainer.placement import RayPlacement

    placement = RayPlacement(bundles=[{"CPU": 1}] * 2, call_timeout_s=120)
    await check_apart(placement)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::ResourceWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize(("address", "joined"), [(None, "local"), ("10.0.0.1:6379", "10.0.0.1:6379")])
def test_without_an_address_no_cluster_is_joined(
    address: str | None, joined: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray itself would take the last one that was begun on this machine, whoever began it."""
    import ray

    from trainer.placement import RayPlacement

    asked: dict[str, object] = {}
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **given: asked.update(given))
    RayPlacement(address, bundles=[{"CPU": 1}] * 3)
    assert asked["address"] == joined
    assert asked.get("num_cpus") == (None if address else 3), "Ray refuses to be told what a cluster has"


def test_actor_death_and_deadline_are_told_apart() -> None:
    assert ActorDied("x").code == "actor_died"
    assert DeadlineExceeded("x").code == "deadline_exceeded"


class Member:
    """One of several processes: they add up what each of them holds."""

    def __init__(self, start: int) -> None:
        import torch.distributed as dist

        self.rank, self.world = dist.get_rank(), dist.get_world_size()
        self.held = start + self.rank

    def add_up(self) -> int:
        import torch
        import torch.distributed as dist

        held = torch.tensor(self.held)
        dist.all_reduce(held)
        return int(held)

    def refuse(self) -> None:
        raise BadRequest("no", field="amount")

    def die(self) -> None:
        import os

        if self.rank == 1:
            os._exit(1)
        self.add_up()


async def check_ranks(placement: Placement, world: int) -> None:
    handle = await placement.place_ranks(world, Member, 10)
    assert await handle.call("add_up") == 10 * world + world * (world - 1) // 2
    with pytest.raises(BadRequest, match="no"):
        await handle.call("refuse")
    assert await handle.call("add_up") > 0, "an error that all share leaves the group as it was"
    with pytest.raises(ActorDied, match="Member"):
        await handle.call("die")
    with pytest.raises(ActorDied, match="Member"):
        await handle.call("add_up")


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::ResourceWarning", "ignore::DeprecationWarning")
async def test_one_object_of_several_ray_actors() -> None:
    from trainer.placement import RayPlacement

    placement = RayPlacement(bundles=[{"CPU": 1.0}] * 3, call_timeout_s=120)
    try:
        alone = await placement.place(Counter, 10)
        await placement.renew()
        await check_ranks(placement, 2)
        policy = await placement.place(Counter, 10)
        assert await policy.call("add", 1, times=2) == 12, "it has the bundle behind those of the ranks"
        assert await placement.lost() == ["Member"], "one process that is gone is the whole object's loss"
        await placement.renew()
        with pytest.raises(ActorDied):
            await alone.call("add", 1)
        handle = await placement.place_ranks(2, Member, 10)
        assert await handle.call("add_up") == 21
        assert await placement.lost() == []
    finally:
        await placement.close()
