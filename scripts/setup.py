"""Make the virtual environment and install the project into it: `make setup`. Only the standard library is used.

The versions of requirements.lock are applied as constraints; where one of them cannot be had on this machine the
install is tried once more without them, and says so.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MINIMUM = (3, 11)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--venv", default=".venv", help="where the virtual environment goes")
    parser.add_argument("--extras", default="dev", help="extras to install, with commas; empty for the core alone")
    options = parser.parse_args()
    if sys.version_info < MINIMUM:
        print(
            f"error: Python {sys.version.split()[0]} is too old, 3.11 or newer is needed (make PYTHON=python3.11 …)",
            file=sys.stderr,
        )
        return 2
    python = _make(ROOT / options.venv)
    target = f".[{options.extras}]" if options.extras else "."
    code = _install(python, target)
    _tell_sandbox()
    return code


def _make(folder: Path) -> Path:
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    if not python.exists():
        print(f"making {folder.name} with Python {sys.version.split()[0]}", flush=True)
        venv.create(folder, with_pip=True)
    return python


def _install(python: Path, target: str) -> int:
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--progress-bar", "off"]
    print(f"installing {target} (a minute or two)", flush=True)
    lock = ROOT / "requirements.lock"
    done = subprocess.run([*pip, "-c", str(lock), "-e", target], cwd=ROOT, check=False)
    if done.returncode == 0:
        return 0
    print("the locked versions cannot be had here; trying the newest that fit", file=sys.stderr, flush=True)
    return subprocess.run([*pip, "-e", target], cwd=ROOT, check=False).returncode


def _tell_sandbox() -> None:
    if shutil.which("bwrap") is None:
        print(
            "note: bubblewrap is not installed: untrusted code would run under the weaker sandbox (rlimits only)."
            " Debian: apt-get install bubblewrap"
        )


if __name__ == "__main__":
    sys.exit(main())
