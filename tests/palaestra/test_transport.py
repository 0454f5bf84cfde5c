"""How weights travel follows from where the learner and the policy are, and the log says it."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from model.weight_memory import WeightMemory, machine, open_memory
from palaestra.services import Services
from palaestra.transport import transport_of
from trainer import transports
from trainer.config import load_recipe
from trainer.placement import LocalPlacement
from trainer.process_handle import ProcessHandle


class Somewhere:
    """A placed object that knows where it is."""

    def __init__(self, machine: str) -> None:
        self.machine = machine

    async def call(self, method: str) -> str:
        assert method == "machine"
        return self.machine


class Spread:
    """A placement over so many machines."""

    def __init__(self, machines: int) -> None:
        self.count = machines

    async def machines(self) -> int:
        return self.count


def line(overrides: dict[str, Any], *, placement: Any, apart: bool = False, services: Services | None = None) -> Any:
    return SimpleNamespace(
        recipe=load_recipe("demo", overrides),
        placement=placement,
        services=services or Services(),
        learner=Somewhere("one"),
        policy=Somewhere("other" if apart else "one"),
    )


def name_of(transport: transports.Transport) -> str:
    if isinstance(transport, transports.Memory):
        return "shared_memory" if transport._shared else "in_process"
    return type(transport).__name__.lower()


LAYOUT = {"layout.dp": 2}
REPLICAS = {"policy.replicas": 2}


@pytest.mark.parametrize(
    ("overrides", "placement", "apart", "expected"),
    [
        ({}, LocalPlacement(), False, "in_process"),
        (REPLICAS, LocalPlacement(), False, "shared_memory"),
        (LAYOUT, LocalPlacement(), False, "shared_memory"),
        (LAYOUT | REPLICAS, LocalPlacement(), False, "shared_memory"),
        ({}, Spread(1), False, "shared_memory"),
        (LAYOUT, Spread(1), False, "shared_memory"),
        ({}, Spread(2), False, "shared_memory"),
        ({}, Spread(2), True, "http"),
        (LAYOUT, Spread(2), True, "http"),
        (REPLICAS, Spread(1), False, "shared_memory"),
        (REPLICAS, Spread(2), False, "http"),
        (LAYOUT | REPLICAS, Spread(2), False, "http"),
        ({"policy.transport": "disk"}, Spread(2), True, "disk"),
        (REPLICAS | {"policy.transport": "http"}, LocalPlacement(), False, "http"),
    ],
)
async def test_auto_takes_the_fastest_way_that_there_is(
    overrides: dict[str, Any], placement: Any, apart: bool, expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        transport = await transport_of(line(overrides, placement=placement, apart=apart))
    assert name_of(transport) == expected
    assert f"weights go by {expected}: " in caplog.text
    await transport.close()


async def test_a_policy_that_is_served_elsewhere_gets_files_in_the_shared_folder(tmp_path: Path) -> None:
    services = Services(policy="http://there:1", shared=str(tmp_path))
    assert name_of(await transport_of(line({}, placement=Spread(2), services=services))) == "disk"
    assert (tmp_path / "weights").is_dir()


class Other:
    """In a process of its own."""

    def machine(self) -> str:
        return machine()

    def sees(self, handle: Any) -> int:
        return len(open_memory(handle))


async def test_processes_of_one_machine_say_so_and_open_each_others_memory() -> None:
    other = await ProcessHandle("other").make(Other)
    memory = WeightMemory(4096, shared=True)
    assert await other.call("machine") == machine()
    assert await other.call("sees", memory.handle) == 4096
    memory.close()
    await other.close()
