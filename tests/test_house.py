"""The shape of the house: what may lie where, and what the light rooms must not load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("torch", "ray", "transformers", "numpy", "sympy")


def test_datasets_is_not_a_package() -> None:
    assert not list((ROOT / "datasets").rglob("__init__.py"))


def test_tests_have_no_packages() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_no_room_is_named_after_the_standard_library() -> None:
    names = {path.stem for room in ("gym_core", "agent_server", "model", "trainer", "policy_server", "palaestra")
             for path in (ROOT / room).glob("*.py")}  # fmt: skip
    # `errors`, `config` and the like are fine; what the interpreter itself ships is not.
    clashes = {name for name in names if name in sys.stdlib_module_names and not name.startswith("__")}
    assert clashes == set()


@pytest.mark.parametrize(
    "module", ["gym_core.environment", "gym_core.contracts", "agent_server.app", "palaestra.__main__"]
)
def test_light_modules_load_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert shown.stdout.strip() == "[]"


def test_the_author_interface_needs_no_server() -> None:
    code = "import sys, gym_core.environment; print('aiohttp' in sys.modules or 'sqlalchemy' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert shown.stdout.strip() == "False"


def test_the_readme_names_both_commands_and_every_room() -> None:
    readme = (ROOT / "README.md").read_text()
    assert "make demo" in readme and "make test" in readme
    rooms = [path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")]
    absent = [room for room in rooms if f"{room}/" not in readme and not room.endswith(".egg-info") and room != "runs"]
    assert absent == []
