"""What is known of a dataset: `datasets/NAME/card.toml`, found by path."""

from __future__ import annotations

from pathlib import Path

import msgspec

from gym_core.errors import BadRequest, misfit

HOME = Path(__file__).resolve().parents[2] / "datasets"
FILE_NAME = "card.toml"


class Build(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `palaestra data build NAME` makes when it is not told otherwise."""

    levels: list[int]
    count: int
    seed: int = 0
    split: str = "train"


class Card(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A dataset. `rows` counts rows by split as its publisher states them; a card with `build` can be generated."""

    title: str
    environment: str
    origin: str
    licence: str
    description: str
    row: str
    refused: list[str] = []
    rows: dict[str, int] = {}
    limits: list[str] = []
    url: str = ""
    build: Build | None = None


def read_card(path: Path) -> Card:
    """The card in a file. Raises `BadRequest` naming file and key."""
    try:
        return msgspec.toml.decode(path.read_bytes(), type=Card)
    except msgspec.ValidationError as error:
        what, where = misfit(error)
        raise BadRequest(f"{path}: {what}", field=where.lstrip(".")) from None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"{path} cannot be read: {error}", field=str(path)) from None


def cards(home: Path = HOME) -> dict[str, Card]:
    """All cards by the name of their folder."""
    return {path.parent.name: read_card(path) for path in sorted(home.glob(f"*/{FILE_NAME}"))}
