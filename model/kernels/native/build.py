"""The compiled forms: built from the C++ beside this file on the machine that runs them, once, and kept.

    sources + flags + compiler + processor ──hash──► ~/.cache/palaestra/native/<hash>.so      found: nothing is compiled

A file lock lets one process compile while others wait for it, and one rename installs the finished library. Without a
compiler or a place to write, one that was made elsewhere serves (`prebuilt`); without that too, or with
PALAESTRA_NATIVE=0, there is none, which one line of the log says, and the torch forms serve.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

log = logging.getLogger(__name__)

SOURCES = Path(__file__).parent / "cpp"
_FLAGS = (
    "-std=c++17",
    "-O3",
    "-fPIC",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
)
_HERE = "-march=native"
_COMPILERS = ("g++", "clang++", "c++")
_DEADLINE_S = 600.0


class NoLibrary(RuntimeError):
    """There can be no compiled forms here; the message says why."""


def wanted() -> bool:
    """Whether compiled forms may be used: PALAESTRA_NATIVE is not 0."""
    return os.environ.get("PALAESTRA_NATIVE", "1").lower() not in ("0", "off", "false", "no")


def cache_folder() -> Path:
    """PALAESTRA_NATIVE_CACHE, or palaestra/native in the user's cache."""
    if named := os.environ.get("PALAESTRA_NATIVE_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "palaestra" / "native"


def build(real: str, folder: Path | None = None) -> Path:
    """The library for numbers of C++ type `real` ("float" or "double"), compiled if it is not there yet.

    Raises NoLibrary when it cannot be made.
    """
    target = _target(real, folder)
    if target.exists():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(target.with_suffix(".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not target.exists():
                log.info("compiling the native kernels for this machine, once (%s)", target.name)
                compile_library(compiler(), real, target, (_HERE,))
    except OSError as error:
        raise NoLibrary(f"no native kernels: {target.parent} cannot be used ({error})") from error
    return target


def is_built(real: str) -> bool:
    """Whether `build` would have nothing to compile."""
    try:
        return _target(real, None).exists()
    except NoLibrary:
        return False


def has_compiler() -> bool:
    """Whether `build` would compile what is not there yet."""
    try:
        compiler()
    except NoLibrary:
        return False
    return True


def prepare() -> None:
    """Compile what models use now, where nobody waits with a deadline; the first use says when it cannot be done."""
    if wanted():
        with contextlib.suppress(NoLibrary):
            build("float")


@lru_cache(maxsize=1)
def compiler() -> str:
    """The path of a C++ compiler. Raises NoLibrary."""
    for name in filter(None, (os.environ.get("CXX"), *_COMPILERS)):
        if found := shutil.which(name):
            return found
    raise NoLibrary(f"no native kernels: no C++ compiler found ({', '.join(_COMPILERS)}; CXX names another)")


def _target(real: str, folder: Path | None) -> Path:
    """What the library depends on is in its name: another of any of these is another library."""
    here = (_HERE, platform.machine(), processor(), _ask(compiler(), "--version"))
    return (folder or cache_folder()) / f"{key(real, *here)}.so"


def key(*parts: str) -> str:
    """A hash of these, the sources and the flags of every library."""
    sources = [f"{path.name}\n{path.read_text()}" for path in sorted(SOURCES.iterdir())]
    return hashlib.sha256("\0".join([*parts, *_FLAGS, *sources]).encode()).hexdigest()[:24]


def compile_library(compiler: str, real: str, target: Path, flags: tuple[str, ...]) -> None:
    """Every source by itself, on as many cores as there are, then one library of them all. Raises NoLibrary."""
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        objects = {path: f"{scratch}/{path.stem}.o" for path in sorted(SOURCES.glob("*.cpp"))}
        common = (compiler, *_FLAGS, *flags, f"-DREAL={real}", "-c")
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(lambda path: _ask(*common, str(path), "-o", objects[path]), objects))
        made = Path(scratch) / target.name
        _ask(compiler, "-shared", *objects.values(), "-o", str(made))
        os.replace(made, target)


def _ask(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_DEADLINE_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise NoLibrary(f"no native kernels: {command[0]} took more than {_DEADLINE_S:.0f} s") from error
    if done.returncode:
        raise NoLibrary(f"no native kernels: {command[0]} failed: {done.stderr.strip()[-2000:]}")
    return done.stdout


@lru_cache(maxsize=1)
def processor() -> str:
    """What this processor can do: a library made for another may not run here."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
