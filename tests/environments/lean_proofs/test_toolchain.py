"""Where Lean is looked for, in which order, and what is said where there is none."""

from pathlib import Path

import pytest

from environments.lean_proofs.toolchain import MISSING, Toolchain, cache_folder, find_toolchain

pytestmark = pytest.mark.usefixtures("no_toolchain")


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_without_one_there_is_none():
    assert find_toolchain() is None
    assert "scripts/lean.py" in MISSING and "PALAESTRA_LEAN" in MISSING


def test_the_order_is_variable_path_elan_npm(tmp_path, monkeypatch):
    npm = program(cache_folder() / "node_modules" / "@lasm" / "some-package" / "lean" / "bin" / "lean")
    assert find_toolchain() == Toolchain(npm, "npm")
    elan = program(tmp_path / "elan" / "toolchains" / "leanprover--lean4---v4.35.0" / "bin" / "lean")
    assert find_toolchain() == Toolchain(elan, "elan")
    on_path = program(tmp_path / "onpath" / "bin" / "lean")
    monkeypatch.setenv("PATH", f"{on_path.parent}:/usr/bin:/bin")
    assert find_toolchain() == Toolchain(on_path, "PATH")
    named = program(tmp_path / "named" / "bin" / "lean")
    for value in (named, named.parent.parent):
        monkeypatch.setenv("PALAESTRA_LEAN", str(value))
        assert find_toolchain() == Toolchain(named, "PALAESTRA_LEAN")


def test_a_variable_that_names_nothing_means_none(tmp_path, monkeypatch):
    """Another Lean than the one that was named would be a surprise."""
    program(tmp_path / "elan" / "toolchains" / "a" / "bin" / "lean")
    monkeypatch.setenv("PALAESTRA_LEAN", str(tmp_path / "nowhere"))
    assert find_toolchain() is None


def test_elans_door_is_not_taken_for_lean(tmp_path, monkeypatch):
    """It would download a toolchain when a proof is judged."""
    program(tmp_path / "elan" / "bin" / "elan")
    program(tmp_path / "elan" / "bin" / "lean")
    monkeypatch.setenv("PATH", f"{tmp_path / 'elan' / 'bin'}:/usr/bin:/bin")
    assert find_toolchain() is None


def test_a_project_brings_its_libraries(tmp_path, monkeypatch):
    monkeypatch.setenv("PALAESTRA_LEAN", str(program(tmp_path / "lean" / "bin" / "lean")))
    project = tmp_path / "project"
    mathlib = project / ".lake" / "packages" / "mathlib" / ".lake" / "build" / "lib" / "lean"
    own = project / ".lake" / "build" / "lib"
    for folder in (mathlib, own):
        folder.mkdir(parents=True)
    monkeypatch.setenv("PALAESTRA_LEAN_PROJECT", str(project))
    repl = program(tmp_path / "repl" / "build" / "repl")
    monkeypatch.setenv("PALAESTRA_LEAN_REPL", str(repl))
    found = find_toolchain()
    assert found is not None
    assert set(found.libraries) == {mathlib, own} and found.repl == repl
    assert found.lean_path("/work").split(":")[0] == "/work" and str(mathlib) in found.lean_path()
    assert set(found.readable) == {found.root / "bin", repl.parent, project}
    assert found.checker is None
    checker = program(found.lean.with_name("leanchecker"))
    assert found.checker == checker
