"""Where Lean is: `$PALAESTRA_LEAN`, PATH, elan, or the npm packages of Lasm; and beside it the REPL and a project.

    PALAESTRA_LEAN           the program `lean`, or a folder with `bin/lean` below it
    PALAESTRA_LEAN_REPL      the program `repl` of leanprover-community/repl, built with the same Lean
    PALAESTRA_LEAN_PROJECT   a Lake project that is built (for Mathlib): its libraries can be imported

elan's `lean` is a door to the real one and downloads when asked: here the real one is taken, from elan's toolchains.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "PALAESTRA_LEAN"
REPL_VARIABLE = "PALAESTRA_LEAN_REPL"
PROJECT_VARIABLE = "PALAESTRA_LEAN_PROJECT"
MISSING = "no Lean toolchain; `python scripts/lean.py install` gets one, or name one in PALAESTRA_LEAN (docs/lean.md)"
_NPM_DEPTH = 8


@dataclass(slots=True, frozen=True)
class Toolchain:
    """Programs of one Lean. `root` holds `bin/lean` and `lib/lean`; `libraries` are more places to import from."""

    lean: Path
    found_by: str
    repl: Path | None = None
    libraries: tuple[Path, ...] = ()
    project: Path | None = None

    @property
    def root(self) -> Path:
        return self.lean.parent.parent

    @property
    def checker(self) -> Path | None:
        """`leanchecker`, which has the kernel read a compiled module again; newer toolchains bring it."""
        program = self.lean.with_name("leanchecker")
        return program if program.is_file() else None

    @property
    def readable(self) -> tuple[Path, ...]:
        """What a sandbox has to show, read-only."""
        own = [place for place in (self.root / "bin", self.root / "lib") if place.is_dir()]
        places = [*own, *((self.repl.parent,) if self.repl else ()), *((self.project,) if self.project else ())]
        return tuple(dict.fromkeys(places))

    def lean_path(self, *more: str) -> str:
        """`LEAN_PATH` for imports beside Lean's own library."""
        return os.pathsep.join([*more, *map(str, self.libraries)])


def find_toolchain() -> Toolchain | None:
    """The first Lean that is there; None where there is none. A few looks at the disk, no program is started."""
    for how, place in _places():
        lean = _program(place)
        if lean is not None:
            project = _folder(PROJECT_VARIABLE)
            return Toolchain(lean, how, _repl(), tuple(_libraries(project)) if project else (), project)
    return None


def _places() -> Iterator[tuple[str, Path]]:
    named = os.environ.get(VARIABLE)
    if named:
        yield VARIABLE, Path(named)
        return  # who names one means that one
    on_path = shutil.which("lean")
    if on_path and not _is_elan(Path(on_path)):
        yield "PATH", Path(on_path)
    home = Path(os.environ.get("ELAN_HOME") or Path.home() / ".elan")
    for toolchain in sorted((home / "toolchains").glob("*"), reverse=True):
        yield "elan", toolchain
    for folder in (cache_folder(), Path.cwd()):
        for lean in _in_npm(folder / "node_modules" / "@lasm"):
            yield "npm", lean


def cache_folder() -> Path:
    """Where `scripts/lean.py` installs: `$XDG_CACHE_HOME/palaestra/lean`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "palaestra" / "lean"


def _in_npm(scope: Path) -> list[Path]:
    """Programs `bin/lean` in the packages of this scope, not deeper than a toolchain lies."""
    found: list[Path] = []
    for folder, below, files in os.walk(scope):
        depth = len(Path(folder).relative_to(scope).parts)
        below[:] = [] if depth >= _NPM_DEPTH else [name for name in below if name not in ("src", "include")]
        if Path(folder).name == "bin" and "lean" in files:
            found.append(Path(folder) / "lean")
            below[:] = []
    return sorted(found)


def _program(place: Path) -> Path | None:
    """`lean` itself, or in a folder of a toolchain; resolved, so that its root is the real one."""
    for path in (place, place / "bin" / "lean"):
        if path.is_file() and os.access(path, os.X_OK):
            return path.resolve()
    return None


def _is_elan(path: Path) -> bool:
    return path.resolve().name == "elan" or (path.parent / "elan").exists()


def _repl() -> Path | None:
    named = os.environ.get(REPL_VARIABLE)
    path = Path(named) if named else None
    return path.resolve() if path is not None and path.is_file() and os.access(path, os.X_OK) else None


def _folder(variable: str) -> Path | None:
    named = os.environ.get(variable)
    return Path(named).resolve() if named and Path(named).is_dir() else None


def _libraries(project: Path) -> Iterator[Path]:
    """Compiled libraries of a Lake project and of its packages (`lib/lean` since 2024, `lib` before)."""
    for base in (project, *sorted((project / ".lake" / "packages").glob("*"))):
        for name in ("lib/lean", "lib"):
            place = base / ".lake" / "build" / name
            if place.is_dir():
                yield place
                break
