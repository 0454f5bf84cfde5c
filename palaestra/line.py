"""The running services of a training run and what connects to them, as every part of the program sees them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

from gym_core.store import Store
from palaestra.live import View
from palaestra.meter import Meter
from palaestra.run_folder import RunFolder
from palaestra.services import Services
from trainer.collect import AgentPool, Row
from trainer.config import Recipe
from trainer.placement import Handle, Placement
from trainer.publisher import WeightPublisher


@dataclass(slots=True)
class Line:
    """The running services of a run and what connects to them."""

    recipe: Recipe
    folder: RunFolder
    store: Store
    placement: Placement
    meter: Meter
    view: View
    services: Services = field(default_factory=Services)
    connected: AsyncExitStack = field(default_factory=AsyncExitStack)
    environment_urls: dict[str, str] = field(default_factory=dict)
    learner: Handle = field(default=cast(Handle, None))
    policy: Handle = field(default=cast(Handle, None))
    agents: AgentPool = field(default=cast(AgentPool, None))
    publisher: WeightPublisher = field(default=cast(WeightPublisher, None))
    train_rows: dict[str, list[Row]] = field(default_factory=dict)
    heldout_rows: dict[str, list[Row]] = field(default_factory=dict)
    phases: dict[str, dict[str, float]] = field(default_factory=dict)


@asynccontextmanager
async def phase(line: Line, name: str) -> AsyncIterator[None]:
    """Account a phase's wall and CPU seconds (all processes)."""
    began, cpu = line.meter.seconds, line.meter.cpu_seconds()
    yield
    line.phases[name] = {
        "seconds": round(line.meter.seconds - began, 2),
        "cpu_seconds": round(line.meter.cpu_seconds() - cpu, 2),
    }
