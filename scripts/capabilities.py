"""What this machine lets the project do, and whether the last test run used it: `run`, `skipped` or `absent`.

The test suite writes what it used to `.pytest_cache/capabilities/`; with `--require-installed` a
capability that is installed here but was skipped there is an error.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RECORDS = ROOT / ".pytest_cache" / "capabilities"


def installed() -> dict[str, bool]:
    """Capabilities by name: are their means on this machine?"""
    return {
        "torch": _module("torch"),
        "ray": _module("ray"),
        "transformers (oracle)": _module("transformers"),
        "openai client": _module("openai"),
        "triton (interpreter)": _module("triton"),
        "published rows": (ROOT.parent / "shared" / "rows").is_dir(),
        "bubblewrap": shutil.which("bwrap") is not None,
        "vllm (cpu)": _vllm(),
        "lean": _lean(),
        "postgresql": _module("psycopg") and _postgresql(),
        "gpu": _gpu(),
    }


def _vllm() -> bool:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    python = os.environ.get("PALAESTRA_VLLM_PYTHON") or cache / "palaestra" / "vllm" / "cpu" / "bin" / "python"
    return Path(python).is_file()


def _lean() -> bool:
    sys.path.insert(0, str(ROOT))
    from environments.lean_proofs.toolchain import find_toolchain

    return find_toolchain() is not None


def _module(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _postgresql() -> bool:
    """A server that tests can start: on the path, or where Debian keeps it."""
    found = shutil.which("initdb") and shutil.which("postgres")
    return bool(found) or any(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


def _gpu() -> bool:
    if not _module("torch"):
        return False
    import torch

    return torch.cuda.is_available()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--require-installed", action="store_true", help="fail when an installed one was skipped")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    used = {name for record in RECORDS.glob("*.json") for name in json.loads(record.read_text())}
    rows = {name: _state(name, present, used) for name, present in installed().items()}
    if options.json:
        print(json.dumps(rows))
    else:
        for name, state in rows.items():
            print(f"{name:24} {state}")
    wrong = [name for name, state in rows.items() if state == "skipped"]
    if options.require_installed and wrong:
        print(f"error: installed but not exercised by the tests: {', '.join(wrong)}", file=sys.stderr)
        return 1
    return 0


def _state(name: str, present: bool, used: set[str]) -> str:
    if name in used:
        return "run"
    if not present:
        return "absent"
    return "skipped"


if __name__ == "__main__":
    sys.exit(main())
