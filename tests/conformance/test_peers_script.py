"""`scripts/peers.py`: what it knows, what it refuses, when a peer counts as made."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from peer_python import SCRIPT, peer_python


def run(*arguments: str, place: Path) -> subprocess.CompletedProcess[str]:
    environ = {"PALAESTRA_PEERS": str(place), "PATH": "", "HOME": str(place)}
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], env=environ, capture_output=True, text=True)


def test_it_lists_what_is_made(tmp_path: Path) -> None:
    (tmp_path / "trl").mkdir()
    (tmp_path / "trl" / ".made").write_text("trl==0.1")
    said = run("--list", place=tmp_path).stdout
    assert {line.split()[0] for line in said.splitlines()} == {"nemo-gym", "nemo-gym-0.4", "verifiers", "trl"}
    assert said.count("not made") == 4, "a peer of another version is none"


def test_unknown_names_and_missing_interpreters_are_said(tmp_path: Path) -> None:
    unknown = run("nemo", place=tmp_path)
    assert unknown.returncode == 2 and "there are nemo-gym" in unknown.stderr
    # One whose interpreter is not the one that runs this, on a PATH that holds none.
    name, python = ("nemo-gym", "3.13") if sys.version_info[:2] != (3, 13) else ("nemo-gym-0.4", "3.12")
    missing = run(name, place=tmp_path)
    assert missing.returncode == 2 and f"needs Python {python}" in missing.stderr
    assert not (tmp_path / name).exists()


def test_a_test_of_a_peer_that_was_not_made_is_skipped_with_the_way_to_make_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PALAESTRA_PEERS", str(tmp_path))
    with pytest.raises(pytest.skip.Exception, match=r"python scripts/peers\.py verifiers"):
        peer_python("verifiers")
