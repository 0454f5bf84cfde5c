"""The Lean of this machine: where it is, getting it, and whether it proves what `lean_proofs` generates.

python scripts/lean.py             what was found, as one JSON line; exit status 1 where there is none
python scripts/lean.py install     elan where it is installed, else the npm packages of Lasm, into the cache folder
python scripts/lean.py check       a theorem of every family, audited as a rollout's would be; 1 where one fails
python scripts/lean.py file        the same theorems with their proofs as one Lean file, for any other Lean
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from environments.lean_proofs.audit import audit
from environments.lean_proofs.candidate import Candidate
from environments.lean_proofs.families import LEVELS
from environments.lean_proofs.prover import Prover
from environments.lean_proofs.statement import pin
from environments.lean_proofs.toolchain import MISSING, Toolchain, cache_folder, find_toolchain
from gym_core.errors import PalaestraError

ELAN_TOOLCHAIN = "leanprover/lean4:stable"
NPM_PACKAGE = "@lasm/cli"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", nargs="?", choices=("show", "install", "check", "file"), default="show")
    parser.add_argument("--count", type=int, default=3, help="theorems of each family and level in `check` and `file`")
    options = parser.parse_args()
    if options.action == "file":
        print(as_file(options.count))
        return 0
    if options.action == "install" and (failed := install()):
        return failed
    found = find_toolchain()
    print(json.dumps(described(found)))
    if found is None:
        return 1
    return asyncio.run(check(found, options.count)) if options.action == "check" else 0


def described(found: Toolchain | None) -> dict[str, str | None]:
    """What was found, in words that a script can read."""
    if found is None:
        return {"lean": None, "missing": MISSING}
    version = subprocess.run([str(found.lean), "--version"], capture_output=True, text=True, check=False)
    named = {"repl": found.repl, "project": found.project, "leanchecker": found.checker}
    about = {"lean": str(found.lean), "found_by": found.found_by, "version": version.stdout.strip()}
    return {**about, **{name: str(path) if path else None for name, path in named.items()}}


def install() -> int:
    """Get a toolchain, unless there is one. The exit status."""
    if find_toolchain() is not None:
        return 0
    if elan := shutil.which("elan"):
        return subprocess.run([elan, "toolchain", "install", ELAN_TOOLCHAIN], check=False).returncode
    npm = shutil.which("npm")
    if npm is None:
        print("error: neither elan nor npm is installed: https://lean-lang.org/install", file=sys.stderr)
        return 1
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run([npm, "install", "--prefix", str(folder), NPM_PACKAGE], check=False)
    if done.returncode == 0 and find_toolchain() is None:
        print(f"error: {NPM_PACKAGE} is installed in {folder}, and no bin/lean is in it", file=sys.stderr)
        return 1
    return done.returncode


def as_file(count: int) -> str:
    """Theorems of every family and level, each in a namespace of its own: nothing but core Lean is needed."""
    parts = []
    for level, families in enumerate(LEVELS):
        for family in families:
            for number in range(count):
                theorem = family(random.Random(number), level + 1)
                place = f"L{level}.{family.__module__.rpartition('.')[2]}.{family.__name__}.N{number}"
                proved = pin(theorem.header, theorem.statement).proved_by(theorem.proof)
                parts.append(f"namespace {place}\n{theorem.header}{proved}\nend {place}\n")
    return "\n".join(parts)


async def check(toolchain: Toolchain, count: int) -> int:
    """Prove theorems of every family and say which are not proved."""
    prover, wrong = Prover(toolchain), 0
    for level, families in enumerate(LEVELS):
        for family in families:
            began = time.perf_counter()
            for number in range(count):
                theorem = family(random.Random(number), level + 1)
                try:
                    found = await audit(prover, pin(theorem.header, theorem.statement), Candidate(proof=theorem.proof))
                except PalaestraError as error:
                    print(f"error: {error.info()}", file=sys.stderr)
                    return 1
                if not found.proved:
                    wrong += 1
                    print(f"not proved: {theorem.header}{theorem.statement} :={theorem.proof}\n  {found.reason}")
            name = f"{family.__module__.rpartition('.')[2]}.{family.__name__}"
            print(f"level {level}  {name:26} {(time.perf_counter() - began) / count:6.2f} s a theorem")
    print(f"{wrong} not proved")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
