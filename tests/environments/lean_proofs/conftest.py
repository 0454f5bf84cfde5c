"""A toolchain that is none, the recorded exchanges, and the real Lean where there is one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from environments.lean_proofs.toolchain import Toolchain, find_toolchain

HERE = Path(__file__).parent
RECORDED = HERE.parents[2].parent / "shared" / "lean_repl"


@pytest.fixture
def fake_toolchain(tmp_path: Path) -> Toolchain:
    """A folder like a toolchain's whose `lean` is `fake_lean.py`."""
    program = tmp_path / "toolchain" / "bin" / "lean"
    program.parent.mkdir(parents=True)
    shutil.copy(HERE / "fake_lean.py", program)
    program.chmod(0o755)
    return Toolchain(program, "test")


@pytest.fixture
def no_toolchain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without any Lean."""
    for name in ("PALAESTRA_LEAN", "PALAESTRA_LEAN_REPL", "PALAESTRA_LEAN_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ELAN_HOME", str(tmp_path / "elan"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def recorded() -> Path:
    """The recorded exchanges beside the checkout; tests that need them skip, loudly, where they are not."""
    if not RECORDED.is_dir():
        pytest.skip("the recorded exchanges (../shared/lean_repl) are not on this machine")
    return RECORDED


@pytest.fixture(scope="session")
def real_lean() -> Iterator[Toolchain]:
    """The Lean of this machine."""
    found = find_toolchain()
    if found is None:
        pytest.skip("there is no Lean toolchain on this machine (docs/lean.md)")
    yield found
