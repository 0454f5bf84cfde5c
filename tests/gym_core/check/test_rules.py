"""For every rule of the gate an environment with just that broken: refused by the rule's name, and in clear words."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gym_core.check.gate import QUICK, Report, check, check_path, rule_ids
from gym_core.loading import load_file
from gym_core.registry import Registry

VAULT = load_file(Path(__file__).with_name("vault.py"))


class Plant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is replaced, which rule must refuse it, and words of what it says."""

    rule: str
    says: str
    label: str = ""
    edits: list[tuple[str, str]] = []
    texts: dict[str, str] = {}
    options: dict[str, Any] = {}


PLANTS = msgspec.convert(tomllib.loads(Path(__file__).with_name("plants.toml").read_text())["plant"], list[Plant])


def marked(plant: Plant) -> Any:
    """The first plant of each rule in every run, other forms of it in the long one."""
    name = f"{plant.rule}-{plant.label}" if plant.label else plant.rule
    return pytest.param(plant, id=name, marks=[pytest.mark.slow] if plant.label else [])


async def checked(folder: Path, rules: set[str], **options: Any) -> Report:
    registry = Registry.at(folder)
    (name,) = registry.names()
    quick = msgspec.structs.replace(QUICK, train=4, heldout=2, per_level=1, **options)
    return await check(registry.manifest(name), registry.place(name), quick, only=rules)


@pytest.mark.parametrize("plant", [marked(plant) for plant in PLANTS])
async def test_a_planted_fault_is_refused_by_the_name_of_its_rule(plant: Plant, tmp_path: Path) -> None:
    folder = VAULT.write(tmp_path, *plant.edits, **plant.texts)
    report = await checked(folder, {plant.rule}, **plant.options)
    assert [result.id for result in report.failures()] == [plant.rule]
    refused = report.of(plant.rule)
    assert plant.says in refused.found
    assert refused.fix
    assert report.status == "fail"


def test_every_rule_has_a_planted_fault() -> None:
    assert [plant.rule for plant in PLANTS if not plant.label] == rule_ids()


def test_what_is_not_broken_passes_every_rule(tmp_path: Path) -> None:
    report = check_path(VAULT.write(tmp_path), QUICK)
    assert report.failures() == []
    assert {result.id for result in report.rules if result.status == "skip"} == {"group_order", "judge"}
    assert report.figures.oracle == 1.0
    assert (report.figures.idle, report.figures.random, report.figures.constant) == (0.0, 0.0, 0.0)
    assert report.figures.ms_per_verify is not None and report.figures.tasks_per_s is not None
