"""How weights travel follows from where the learner and the policy are."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from palaestra.connecting import _transport
from palaestra.services import Services
from trainer import transports
from trainer.config import load_recipe
from trainer.placement import LocalPlacement


def line(overrides: dict[str, Any], *, local: bool, services: Services | None = None) -> Any:
    placement = LocalPlacement() if local else object()
    return SimpleNamespace(recipe=load_recipe("demo", overrides), placement=placement, services=services or Services())


def name_of(transport: transports.Transport) -> str:
    if isinstance(transport, transports.Memory):
        return "shared_memory" if transport._shared else "in_process"
    return type(transport).__name__.lower()


@pytest.mark.parametrize(
    ("overrides", "local", "cluster", "expected"),
    [
        ({}, True, False, "in_process"),
        ({"policy.replicas": 2}, True, False, "shared_memory"),
        ({"policy.replicas": 2}, True, True, "shared_memory"),
        ({}, False, False, "shared_memory"),
        ({"policy.replicas": 2}, False, False, "shared_memory"),
        ({"policy.replicas": 2}, False, True, "http"),
        ({"policy.replicas": 2, "layout.dp": 2}, False, True, "disk"),
        ({"policy.replicas": 2, "policy.transport": "http"}, True, False, "http"),
    ],
)
async def test_auto_takes_the_fastest_way_that_there_is(
    overrides: dict[str, Any], local: bool, cluster: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if cluster:
        monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    transport = _transport(line(overrides, local=local))
    assert name_of(transport) == expected
    await transport.close()


def test_a_policy_that_is_served_elsewhere_gets_files_in_the_shared_folder(tmp_path: Path) -> None:
    services = Services(policy="http://there:1", shared=str(tmp_path))
    assert name_of(_transport(line({}, local=False, services=services))) == "disk"
    assert (tmp_path / "weights").is_dir()
