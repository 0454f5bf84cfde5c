"""Every environment of the house passes the quality gate, in its quick form. `palaestra env check NAME` asks more."""

from __future__ import annotations

import msgspec
import pytest

from gym_core.check.gate import QUICK, check
from gym_core.registry import Registry

REGISTRY = Registry.discover()
OPTIONS = msgspec.structs.replace(QUICK, train=4, heldout=2, per_level=2, sessions=2, panel_s=0.4, answer_s=20.0)


@pytest.mark.parametrize("name", REGISTRY.names())
async def test_the_environment_passes_the_quality_gate(name: str) -> None:
    report = await check(REGISTRY.manifest(name), REGISTRY.place(name), OPTIONS)
    assert [(rule.id, rule.found, rule.fix) for rule in report.failures()] == []
    cls = REGISTRY.load(name).cls
    if missing := cls().unavailable():
        assert report.of("oracle").status == "skip" and report.of("oracle").found == missing
        pytest.skip(f"{name} on this machine: {missing}")
    assert report.figures.oracle == cls.reward_range[1]
