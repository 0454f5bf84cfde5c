"""What the boards ask Prometheus for is there: every name and label is one that a service of ours tells in /metrics."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

sys.path.insert(0, str(Path(__file__).parents[1] / "agent_server"))

from fakes import FakePolicy, message

from agent_server.app import build_app as agent_app
from agent_server.config import AgentConfig
from gym_core.client import Client
from gym_core.registry import Registry
from gym_core.sandbox.plain import Plain
from gym_core.sandbox.service import build_app as sandbox_app
from gym_core.sandbox.service import from_provider
from gym_core.serve import start
from gym_core.server import EnvironmentServiceConfig
from gym_core.server import build_app as environment_app
from palaestra.dashboard.app import build_app as dashboard_app
from palaestra.dashboard.library import Library

BOARDS = Path(__file__).parents[2] / "compose/grafana/dashboards"
OF_PROMETHEUS = {"up": {"job"}}
OF_SCRAPING = {"job", "instance", "service"}
WORDS = {"sum", "max", "rate", "by", "histogram_quantile"}


def expressions() -> list[str]:
    boards = [json.loads(path.read_text()) for path in sorted(BOARDS.glob("*.json"))]
    return [target["expr"] for board in boards for panel in board["panels"] for target in panel["targets"]
            if target.get("expr")]  # fmt: skip


def asked(expression: str) -> tuple[set[str], set[str]]:
    """The metrics and the labels that an expression names."""
    labels = set(re.findall(r"(\w+)=~?\"", expression))
    labels |= {label for listed in re.findall(r"by \(([^)]*)\)", expression) for label in listed.split(", ")}
    bare = re.sub(r"\{[^}]*\}|\[\w+\]|by \([^)]*\)", "", expression)
    return set(re.findall(r"[a-z]\w+", bare)) - WORDS, labels


async def told(client: Client) -> dict[str, set[str]]:
    """Samples of a service and the labels that they have."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families((await client.get("/metrics")).body.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


@pytest.fixture
async def samples(tmp_path: Path) -> Mapping[str, set[str]]:
    """What the services tell once a rollout has been through them, a check has run and a page was asked for."""
    found: dict[str, set[str]] = {**OF_PROMETHEUS}
    async with AsyncExitStack() as stack:

        async def served(app: web.Application) -> Client:
            url = (await stack.enter_async_context(await start(app))).url
            return await stack.enter_async_context(Client(url, timeout_s=60))

        names = ("ledger", "math")
        loaded = [Registry.discover().load(name) for name in names]
        gym = await served(environment_app(loaded, EnvironmentServiceConfig(workers=1)))
        brain = await served(FakePolicy([message("done")]).app())
        store = tmp_path / "store.db"
        config = AgentConfig(
            environments={name: f"{gym.base_url}/{name}" for name in names}, policy_url=brain.base_url, store=str(store)
        )
        agent = await served(agent_app(config))
        made: Any = await agent.post_json("/environments/ledger/tasks", {"count": 1})
        assert (await agent.post_json("/run", made["tasks"][0]))["outcome"] == "scored"
        cages = from_provider(Plain(), 1)
        sandbox = await served(sandbox_app(cages, name="plain", strong=False, queue_limit=1, token=None))
        dashboard = await served(dashboard_app(Library([store])))
        for client in (gym, agent, sandbox, dashboard):
            for name, labels in (await told(client)).items():
                found.setdefault(name, set()).update(labels)
    return found


async def test_boards_ask_for_what_services_tell(samples: Mapping[str, set[str]]) -> None:
    wrong = {}
    for expression in expressions():
        names, labels = asked(expression)
        assert names, expression
        known: set[str] = set().union(*(samples.get(name, set()) for name in names))
        missing: Any = (names - samples.keys()) | (labels - known - OF_SCRAPING)
        if missing:
            wrong[expression] = missing
    assert wrong == {}


def test_the_names_of_an_expression_are_found() -> None:
    quantile = 'histogram_quantile(0.99, sum by (service, le) (rate(a_b_bucket{status=~"4..|5..",job="x"}[1m])))'
    assert asked(quantile) == ({"a_b_bucket"}, {"service", "le", "status", "job"})
    assert len(expressions()) > 15
