"""Stores with rollouts in them, a server that shows them, and a browser that looks."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import chromium
from played import RUN, Shown, failed, rollout

from gym_core.client import Client
from gym_core.serve import start
from gym_core.store import Run, Store
from palaestra.dashboard.app import build_app
from palaestra.dashboard.library import Library
from palaestra.dashboard.services import Services


@pytest.fixture(scope="session")
def empty_store() -> Iterator[Path]:
    """A store without anything in it: tables are made once, each test begins with a copy."""
    with tempfile.TemporaryDirectory(prefix="palaestra-store-") as folder:
        path = Path(folder) / "store.db"

        async def make() -> None:
            await (await Store.open(path)).close()

        asyncio.run(make())
        yield path


@pytest.fixture
async def store(tmp_path: Path, empty_store: Path) -> AsyncIterator[Store]:
    (tmp_path / "runs" / RUN).mkdir(parents=True)
    shutil.copy(empty_store, tmp_path / "runs" / RUN / "store.db")
    async with await Store.open(tmp_path / "runs" / RUN / "store.db") as opened:
        yield opened


@pytest.fixture
async def filled(store: Store) -> Store:
    """A run of twelve rollouts, the last one failed, with the metrics of three steps."""
    await store.create_run(Run(run_id=RUN, kind="train", arm="grpo", seed=3))
    for number in range(11):
        await store.put_rollout(rollout(number))
    await store.put_rollout(failed(11))
    for step in range(3):
        values = {"reward": 0.1 * step, "reward/math": 0.2 * step, "reward/ledger": 0.0, "total_step_time": 2.0}
        await store.put_metrics(RUN, step, {**values, "sampled_tokens": 100, "token_mult_prob_error": 1.0 + 1e-7})
    return store


@pytest.fixture
async def shown(tmp_path: Path) -> AsyncIterator[Shown]:
    """A dashboard over `tmp_path/runs` (or the places given); its client."""
    async with AsyncExitStack() as stack:

        async def show(*places: Path, token: str | None = None, services: Services | None = None) -> Client:
            app = build_app(Library(places or (tmp_path / "runs",)), services, token=token)
            served = await stack.enter_async_context(await start(app))
            return await stack.enter_async_context(Client(served.url, token=token, retries=0))

        yield show


@pytest.fixture(scope="session")
def browser() -> Iterator[Path]:
    """One headless Chromium for all tests; the file that says where it listens."""
    if chromium.find() is None:
        pytest.skip("there is no Chromium on this machine")
    with tempfile.TemporaryDirectory(prefix="palaestra-chromium-", ignore_cleanup_errors=True) as folder:
        process, place = chromium.launch(Path(folder))
        try:
            yield place
        finally:
            process.kill()
            process.wait(timeout=30)


@pytest.fixture
async def page(browser: Path) -> AsyncIterator[chromium.Page]:
    async with chromium.tab(await chromium.endpoint(browser)) as opened:
        yield opened
