"""Shared by every test: small thread counts, and a record of which capabilities the run really used."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Triton decides at its first import whether kernels are interpreted, and other libraries import it too.
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")
os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")

# No example fails for the time it took: machines that run tests stand still now and then.
settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")

ROOT = Path(__file__).resolve().parent.parent
ROWS = ROOT.parent / "shared" / "rows"
RECORDS = ROOT / ".pytest_cache" / "capabilities"
_MODULES = {
    "torch": "torch",
    "ray": "ray",
    "transformers": "transformers (oracle)",
    "openai": "openai client",
    "triton": "triton (interpreter)",
    "psycopg": "postgresql",
}
_FILES = {"tests/gym_core/sandbox/test_bubblewrap.py": "bubblewrap"}
_WITH_MODEL = {"bench", "chaos", "conformance", "e2e", "model", "palaestra", "policy_server", "trainer"}
_used: set[str] = set()


def pytest_sessionstart(session: pytest.Session) -> None:
    again = session.config.getoption("lf", default=False)  # a second try of what failed adds to the first run's record
    if not hasattr(session.config, "workerinput") and not again:
        for old in RECORDS.glob("*.json"):
            old.unlink()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Compile now what tests of the model would compile under their deadlines; of several workers, one does."""
    from model.kernels.native import build

    here = ROOT / "tests"
    rooms = {item.path.relative_to(here).parts[0] for item in session.items if item.path.is_relative_to(here)}
    if rooms & _WITH_MODEL and build.wanted() and not session.config.option.collectonly:
        with contextlib.suppress(build.NoLibrary):  # the tests of compiled forms skip, and say so
            for real in ("float", "double") if "model" in rooms else ("float",):
                build.build(real)


def pytest_runtest_teardown(item: pytest.Item) -> None:
    # A test that imported a capability and was not skipped has used it.
    _used.update(title for module, title in _MODULES.items() if module in sys.modules)
    if "real_lean" in getattr(item, "funcargs", {}):
        _used.add("lean")
    _used.update(title for file, title in _FILES.items() if item.nodeid.startswith(file))
    if "vllm_process" in getattr(item, "funcargs", {}):
        _used.add("vllm (cpu)")


def pytest_sessionfinish(session: pytest.Session) -> None:
    RECORDS.mkdir(parents=True, exist_ok=True)
    worker = getattr(session.config, "workerinput", {}).get("workerid", "main")
    (RECORDS / f"{worker}.json").write_text(json.dumps(sorted(_used)))


@pytest.fixture(scope="session")
def published_rows() -> Path:
    """The folder of published task rows beside the checkout; tests that need it skip, loudly, where it is not."""
    if not ROWS.is_dir():
        pytest.skip("the published rows (../shared/rows) are not on this machine")
    _used.add("published rows")
    return ROWS
