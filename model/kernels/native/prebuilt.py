"""Compiled forms for machines without a compiler: made elsewhere, for every kind of processor that there may be.

    python -m model.kernels.native.prebuilt FOLDER      on a machine with a compiler: one library per level
    PALAESTRA_NATIVE_PREBUILT=FOLDER                    where there is none: the best level that the processor has

A library carries the hash of the sources it was made from in its name, so another version of the code does not take
it. Where a compiler is at hand it is asked: what it makes for this very processor is faster.
"""

from __future__ import annotations

import argparse
import os
import platform
from pathlib import Path
from typing import NamedTuple

from model.kernels.native import build

REAL = "float"


class Level(NamedTuple):
    """A kind of processor: what the compiler is told, and what /proc/cpuinfo must say."""

    name: str
    machine: str
    flags: tuple[str, ...]
    needs: frozenset[str]


_V3 = frozenset(["avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "pclmulqdq"])
_V4 = _V3 | frozenset(["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"])
# The best one first.
LEVELS = (
    Level("x86-64-v4", "x86_64", ("-march=x86-64-v4", "-mpclmul"), _V4),
    Level("x86-64-v3", "x86_64", ("-march=x86-64-v3", "-mpclmul"), _V3),
    Level("armv8-a", "aarch64", ("-march=armv8-a",), frozenset()),
)


def make(folder: Path) -> list[Path]:
    """Compile every level of this kind of machine into `folder`. Raises NoLibrary."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for level in LEVELS:
        if level.machine == platform.machine():
            target = folder / _name(level)
            if not target.exists():
                build.compile_library(build.compiler(), REAL, target, level.flags)
            made.append(target)
    if not made:
        raise build.NoLibrary(f"no native kernels are known for a {platform.machine()}")
    return made


def find(real: str) -> Path | None:
    """The best library of PALAESTRA_NATIVE_PREBUILT for numbers `real` that runs here."""
    folder = os.environ.get("PALAESTRA_NATIVE_PREBUILT")
    if not folder or real != REAL:
        return None
    has = frozenset(build.processor().partition(":")[2].split())
    for level in LEVELS:
        made = Path(folder) / _name(level)
        if level.machine == platform.machine() and level.needs <= has and made.exists():
            return made
    return None


def _name(level: Level) -> str:
    return f"{REAL}-{level.name}-{build.key(REAL, *level.flags)}.so"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    for made in make(parser.parse_args().folder):
        print(f"{made} ({made.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
