"""Every attack earns nothing (or what it is honestly worth), and an honest answer is graded in time all the while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gym_core.client import Client
from gym_core.loading import load_file

HERE = Path(__file__).parent
arena = load_file(HERE / "arena.py")
common = load_file(HERE / "attacks" / "common.py")
NAMES = arena.NAMES
OWN = {name: load_file(HERE / "attacks" / f"{name}.py") for name in NAMES}
RANGES = {name: arena.REGISTRY.load(name).cls.reward_range for name in NAMES}
FLOORS = {"genrm_training": -10.0}
"""What words without the form that is asked for earn, where that is more than the minimum."""

HOUSE = {
    *("math", "code", "stem_qa", "structured_outputs", "instruction_following", "calendar", "reasoning_gym"),
    *("ledger", "genrm_compare", "genrm_training", "multi_turn_if", "lean_proofs", "workplace", "banking"),
    *("long_context_qa", "tool_call_pivot"),
}

pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")

HEALTH_S = 10.0
"""The event loop answers within this time while attacks run."""

HONEST_S = 60.0
"""An honest answer is graded within this time once the attacks are over, on a machine that does other things too."""


@pytest.fixture(scope="module")
def field() -> Iterator[Any]:
    with arena.served() as found:
        yield found


def test_every_environment_has_attacks_of_its_own() -> None:
    assert set(NAMES) >= HOUSE
    assert all(len(OWN[name].attacks()) >= 20 for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_attacks_have_names_of_their_own(name: str) -> None:
    names = [attack.name for attack in OWN[name].attacks()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", NAMES)
async def test_no_attack_pays_and_the_service_stays_quick(field: Any, name: str) -> None:
    await fight(field, name, [*(own for own in OWN[name].attacks() if not own.slow), *common.attacks(name)])


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
async def test_no_patient_attack_pays_either(field: Any, name: str) -> None:
    slow = [attack for attack in OWN[name].attacks() if attack.slow]
    if slow:
        await fight(field, name, slow)


def missing(name: str) -> str:
    """What this machine lacks for the environment's verdicts."""
    said: str = arena.REGISTRY.load(name).cls().unavailable()
    return said


async def fight(field: Any, name: str, attacks: list[Any]) -> None:
    if missing(name):
        pytest.skip(f"{name} on this machine: {missing(name)}")
    async with Client(field.url, timeout_s=90, retries=0) as client:
        over = asyncio.Event()
        slowest = asyncio.create_task(_slowest_health(client, over))
        results = await field.play_all(client, name, attacks)
        over.set()
        wrong = {
            attack.name: why
            for attack, result in zip(attacks, results, strict=True)
            if (why := result.wrong(attack, FLOORS.get(name, RANGES[name][0])))
        }
        assert wrong == {}
        assert await slowest < HEALTH_S
        able = [other for other in NAMES if not missing(other)]
        honest = await asyncio.gather(*(field.honest(client, other) for other in able))
    assert [result.reward for result in honest] == [RANGES[other][1] for other in able], honest
    assert max(result.seconds for result in honest) < HONEST_S


async def _slowest_health(client: Client, over: asyncio.Event) -> float:
    """Seconds of the slowest /healthz until `over`."""
    slowest = 0.0
    while not over.is_set():
        began = time.monotonic()
        await client.get("/healthz")
        slowest = max(slowest, time.monotonic() - began)
        await asyncio.wait([asyncio.create_task(over.wait())], timeout=0.05)
    return slowest
