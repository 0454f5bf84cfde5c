"""The cards under datasets/, and their examples."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gym_core.contracts import TaskRef
from gym_core.data.card import HOME, cards, read_card
from gym_core.data.recipe import read_blend
from gym_core.errors import BadRequest
from gym_core.generate import make_task
from gym_core.registry import Registry

CARDS = cards()
REGISTRY = Registry.discover()
GENERATED = sorted(name for name, card in CARDS.items() if card.build)


def test_the_verifiable_environments_have_a_card_that_builds_them() -> None:
    known = {"math", "code", "stem_qa", "structured_outputs", "instruction_following", "calendar", "reasoning_gym"}
    known |= {"ledger", "genrm_compare", "genrm_training", "multi_turn_if", "workplace", "banking", "long_context_qa"}
    known |= {"tool_call_pivot"}
    assert known <= {CARDS[name].environment for name in GENERATED}


@pytest.mark.parametrize("name", sorted(CARDS))
def test_a_card_says_where_its_rows_come_from(name: str) -> None:
    card = CARDS[name]
    assert card.environment == "auto" or REGISTRY.resolve(card.environment) == card.environment
    assert card.licence and card.row.strip() and card.description
    assert card.build is not None or (card.url and card.limits)


@pytest.mark.parametrize("name", GENERATED)
def test_levels_of_a_card_exist_and_its_example_is_what_they_make(name: str) -> None:
    card = CARDS[name]
    environment = REGISTRY.load(card.environment).cls()
    assert card.build is not None
    assert set(card.build.levels) <= set(environment.levels)
    rows = [json.loads(line) for line in (HOME / name / "example.jsonl").read_text().splitlines()]
    for row in rows:
        assert row == json.loads(json.dumps(make_task(environment, TaskRef(**row["task_ref"])).to_row()))


@pytest.mark.parametrize("path", sorted((HOME / "blends").glob("*.toml")), ids=lambda path: path.stem)
def test_blends_can_be_read_and_their_levels_exist(path: Path) -> None:
    blend = read_blend(path)
    for part in blend.part:
        if part.environment in REGISTRY.names():
            assert set(part.levels) <= set(REGISTRY.load(part.environment).cls.levels)


def test_the_rlvr_blend_has_the_published_sizes() -> None:
    sizes = {part.name: part.published for part in read_blend(HOME / "blends" / "rlvr.toml").part}
    assert sum(sizes.values()) == 349_690
    assert max(sizes, key=sizes.__getitem__) == "stem_qa"
    assert all(part.weight == part.published for part in read_blend(HOME / "blends" / "rlvr.toml").part)


def test_no_large_file_lies_under_datasets() -> None:
    assert sum(path.stat().st_size for path in HOME.rglob("*.jsonl")) < 100_000


def test_a_card_with_a_key_nobody_knows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_text('titel = "x"')
    with pytest.raises(BadRequest, match="titel"):
        read_card(tmp_path / "card.toml")
