"""A run goes on by itself after the loss of an actor, so many times, and after nothing else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gym_core.errors import PolicyFault
from palaestra import reinforce as module
from palaestra.hosted import EnvironmentHost, node_address
from palaestra.reinforce import reinforce
from trainer.config import parse_recipe
from trainer.placement import ActorDied


class Told:
    def __init__(self) -> None:
        self.phases: list[str] = []

    def phase(self, name: str, total: int | None = None) -> None:
        self.phases.append(name)


class World:
    """Runs that end with these errors, one after the other, then well."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, errors: list[Exception], lost: list[str]) -> None:
        self.errors, self.gone, self.connected, self.runs = errors, lost, 0, 0
        recipe = parse_recipe({"name": "r", "environments": {"a": {}}, "retries": 2})
        self.line: Any = SimpleNamespace(recipe=recipe, view=Told(), placement=self)
        monkeypatch.setattr(module, "_run", self.run)

    async def run(self, line: Any) -> None:
        self.runs += 1
        if self.errors:
            raise self.errors.pop(0)

    async def lost(self) -> list[str]:
        return self.gone

    async def connect_again(self) -> None:
        self.connected += 1


async def test_a_lost_actor_is_placed_again_and_the_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[Exception] = [
        PolicyFault("none of 16 rollouts was scored", stage="collect"),
        ActorDied("x", stage="step"),
    ]
    world = World(monkeypatch, errors, ["PolicyHost"])
    await reinforce(world.line, world.connect_again)
    assert (world.runs, world.connected) == (3, 2)
    said = [phase for phase in world.line.view.phases if "lost" in phase]
    assert said == [
        "PolicyHost lost (policy_fault in collect): placing again",
        "PolicyHost lost (actor_died in step): placing again",
    ]


async def test_it_is_tried_so_many_times_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, [ActorDied(str(number)) for number in range(9)], ["place_learner"])
    with pytest.raises(ActorDied, match="2"):
        await reinforce(world.line, world.connect_again)
    assert (world.runs, world.connected) == (3, 2)


async def test_where_nothing_was_lost_the_error_is_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, [PolicyFault("no")], [])
    with pytest.raises(PolicyFault):
        await reinforce(world.line, world.connect_again)
    assert (world.runs, world.connected) == (1, 0)


def test_a_host_serves_environments_by_name_on_loopback_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from urllib.request import urlopen

    assert node_address() == "127.0.0.1"
    host = EnvironmentHost(["math"])
    try:
        assert host.url().startswith("http://127.0.0.1:")
        with urlopen(f"{host.url()}/healthz", timeout=10) as reply:
            assert reply.status == 200
    finally:
        host.close()
