"""Every planted bug is noticed by the test that is named for it: tests that could not fail would show here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MUTANTS = tomllib.loads((Path(__file__).parent / "mutants.toml").read_text())
COPIED = ("gym_core", "model", "policy_server", "agent_server", "trainer", "palaestra", "tests", "pyproject.toml")
FAILED = 1
"""pytest's exit code for tests that failed; 4 and 5 would say that the named test does not exist."""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the source that may be broken."""
    place = tmp_path_factory.mktemp("mutants")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, place / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, place / name)
    yield place
    shutil.rmtree(place)


def run(tree: Path, tests: list[str]) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    return subprocess.run(command, cwd=tree, env=environ, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("name", MUTANTS)
def test_what_a_mutant_changes_stands_in_its_file_once(name: str) -> None:
    mutant = MUTANTS[name]
    assert (ROOT / mutant["file"]).read_text().count(mutant["old"]) == 1
    path, _, test = mutant["caught_by"].partition("::")
    assert f"def {test}(" in (ROOT / path).read_text()


@pytest.mark.slow
def test_without_a_mutant_the_named_tests_pass(tree: Path) -> None:
    done = run(tree, sorted({mutant["caught_by"] for mutant in MUTANTS.values()}))
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_is_caught(name: str, tree: Path) -> None:
    mutant = MUTANTS[name]
    file = tree / mutant["file"]
    source = file.read_text()
    file.write_text(source.replace(mutant["old"], mutant["new"]))
    try:
        done = run(tree, [mutant["caught_by"]])
    finally:
        file.write_text(source)
    assert done.returncode == FAILED, f"not noticed\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
