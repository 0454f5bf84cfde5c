"""`scripts/lean.py` says what there is, and proves every family with it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from environments.lean_proofs.families import LEVELS, names

ROOT = Path(__file__).resolve().parents[3]


def script(*arguments, **variables):
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "lean.py"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **variables},
    )


def test_without_lean_it_fails_and_names_the_way(tmp_path):
    done = script(PALAESTRA_LEAN=str(tmp_path / "nowhere"))
    said = json.loads(done.stdout)
    assert done.returncode == 1 and said["lean"] is None and "scripts/lean.py install" in said["missing"]


def test_every_family_in_one_file_under_names_that_do_not_meet():
    done = script("file", "--count", "2")
    spaces = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("namespace ")]
    assert done.returncode == 0 and len(spaces) == len(set(spaces)) == 2 * sum(map(len, LEVELS))
    assert {".".join(space.split(".")[1:3]) for space in spaces} == names() and "sorry" not in done.stdout


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
@pytest.mark.slow
def test_every_family_is_asked(fake_toolchain):
    done = script("check", "--count", "1", PALAESTRA_LEAN=str(fake_toolchain.lean), PALAESTRA_LEAN_MEMORY_MB="1024")
    assert done.returncode == 0, done.stderr
    assert "0 not proved" in done.stdout and "induction.invariant" in done.stdout
