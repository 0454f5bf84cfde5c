"""Lean in a cage: a process without network, rights or files, whose time, memory and output are bounded.

    finished = await run(confinement, [lean, "--json", "Main.lean"], {"Main.lean": source}, limits)

A Lean program runs code while it is *checked* (`#eval`, `run_cmd`, `initialize`), so `lean` on a candidate is an
untrusted program. bubblewrap gives it namespaces of its own, the toolchain read-only, one scratch folder and nothing
else; memory and processor time are limits of the process. Without bubblewrap nothing runs, unless
PALAESTRA_ALLOW_WEAK_SANDBOX=1 says that limits alone will do.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from environments.lean_proofs.toolchain import Toolchain
from gym_core.sandbox.choose import WEAK_VARIABLE
from gym_core.sandbox.faults import SandboxUnavailable
from gym_core.sandbox.interpreter import jobs_uid, reachable

INSIDE = "/work"
"""Where the scratch folder is seen from inside the cage."""

_SYSTEM = ("/bin", "/lib", "/lib32", "/lib64", "/libx32")
_READ = 1 << 16
# fmt: off
_BWRAP = (
    "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session", "--cap-drop", "ALL",
    "--hostname", "lean", "--uid", "1000", "--gid", "1000", "--ro-bind", "/usr", "/usr",
    "--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache", "--proc", "/proc", "--dev", "/dev",
    "--size", "268435456", "--tmpfs", "/tmp",
)
# fmt: on


@dataclass(slots=True, frozen=True)
class Limits:
    """`cpu_s` judges the proof; `wall_s` is far beyond it, so that a busy machine judges nobody. `memory_mb` is of
    address space (Lean maps its libraries: start at 4096)."""

    wall_s: float = 300.0
    cpu_s: int = 60
    memory_mb: int = 8192
    output_bytes: int = 4 << 20


@dataclass(slots=True, frozen=True)
class Finished:
    """How a run ended: its exit status (minus the signal), and whether time or output were cut."""

    status: int
    stdout: bytes
    stderr: bytes
    seconds: float
    timed_out: bool = False
    flooded: bool = False


class Cage:
    """How processes of one toolchain are started. `name` is the sandbox that results say."""

    def __init__(self, toolchain: Toolchain) -> None:
        self.toolchain = toolchain
        self._bwrap = shutil.which("bwrap")
        if self._bwrap is None and os.environ.get(WEAK_VARIABLE) != "1":
            raise SandboxUnavailable(
                "Lean runs untrusted programs, and bubblewrap is not installed",
                hint=f"install the package `bubblewrap`, or set {WEAK_VARIABLE}=1 to run Lean with mere limits",
            )

    @property
    def name(self) -> str:
        return "bubblewrap" if self._bwrap else "plain"

    def inside(self, scratch: Path) -> str:
        """How the scratch folder is called where the program runs."""
        return INSIDE if self._bwrap else str(scratch)

    def command(self, argv: Sequence[str], scratch: Path, limits: Limits) -> list[str]:
        """The whole command line: cage, limits, program."""
        memory_kb = limits.memory_mb << 10
        processor = f"ulimit -St {limits.cpu_s}; ulimit -Ht {limits.cpu_s + 5}"
        limited = f'ulimit -c 0; ulimit -v {memory_kb}; {processor}; ulimit -f 524288; exec "$@"'
        command = ["/bin/sh", "-c", limited, "sh", *argv]
        if not self._bwrap:
            return command
        return [self._bwrap, *_BWRAP, *self._binds(scratch), "--chdir", INSIDE, "--", *command]

    def environment(self, scratch: Path) -> dict[str, str]:
        """All that the program sees of variables."""
        place = self.inside(scratch)
        return {
            "PATH": f"{self.toolchain.lean.parent}:/usr/bin:/bin",
            "HOME": place,
            "LANG": "C.UTF-8",
            "LEAN_PATH": self.toolchain.lean_path(place),
            "LEAN_NUM_THREADS": "1",
        }

    async def start(self, argv: Sequence[str], scratch: Path, limits: Limits) -> asyncio.subprocess.Process:
        """The program in its cage, with pipes, in a session of its own so that all of it can be killed."""
        # a toolchain in a home that only root may enter is shown to root, who has no rights inside the cage either
        uid = jobs_uid() if self._bwrap and reachable(self.toolchain.lean) else None
        if uid is not None:
            os.chown(scratch, uid, uid)
            for file in scratch.iterdir():
                os.chown(file, uid, uid)
        return await asyncio.create_subprocess_exec(
            *self.command(argv, scratch, limits),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self.environment(scratch),
            cwd="/" if self._bwrap else scratch,
            start_new_session=True,
            limit=limits.output_bytes,
            user=uid,
            group=uid,
            extra_groups=None if uid is None else [],
        )

    def _binds(self, scratch: Path) -> list[str]:
        arguments = []
        for place in _SYSTEM:
            if os.path.islink(place):
                arguments += ["--symlink", os.readlink(place), place]
            elif os.path.isdir(place):
                arguments += ["--ro-bind", place, place]
        for folder in self.toolchain.readable:
            if not folder.is_relative_to("/usr"):
                arguments += ["--ro-bind", str(folder), str(folder)]
        return [*arguments, "--bind", str(scratch), INSIDE]


def scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder for one run, gone with it."""
    return tempfile.TemporaryDirectory(prefix="palaestra-lean-", ignore_cleanup_errors=True)


def write_files(folder: Path, files: Mapping[str, str | bytes]) -> None:
    folder.chmod(0o755)
    for name, content in files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode(errors="replace"))


async def run(cage: Cage, argv: Sequence[str], scratch: Path, limits: Limits) -> Finished:
    """Run a program to its end, or to its limit; nothing of it is left then, also when the caller goes away."""
    began = time.monotonic()
    process = await cage.start(argv, scratch, limits)
    assert process.stdout is not None and process.stderr is not None and process.stdin is not None
    process.stdin.close()
    readers = [
        asyncio.ensure_future(_read(stream, limits.output_bytes, process))
        for stream in (process.stdout, process.stderr)
    ]
    timed_out = False
    try:
        async with asyncio.timeout(limits.wall_s):
            (out, cut), (err, cut_too) = await asyncio.gather(*readers)
            await process.wait()
    except TimeoutError:
        timed_out, out, err, cut, cut_too = True, b"", b"", False, False
    finally:
        await end(process, readers)
    assert process.returncode is not None
    return Finished(process.returncode, out, err, time.monotonic() - began, timed_out, cut or cut_too)


async def end(process: asyncio.subprocess.Process, readers: Sequence[asyncio.Future[Any]] = ()) -> None:
    """Kill a process and all that it started; twice is no harm. `readers` of its pipes are ended first: what is left in
    a pipe has to be read by somebody, or its end is never noticed."""
    for reader in readers:
        reader.cancel()
    _kill(process)
    await asyncio.gather(*readers, return_exceptions=True)
    await asyncio.gather(*(_drain(stream) for stream in (process.stdout, process.stderr) if stream is not None))
    await process.wait()


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.read(_READ):
        continue


def _kill(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


async def _read(stream: asyncio.StreamReader, limit: int, process: asyncio.subprocess.Process) -> tuple[bytes, bool]:
    """What a stream says until its end; a process that says more than `limit` bytes is killed, and the rest cut."""
    said = bytearray()
    while chunk := await stream.read(_READ):
        said += chunk
        if len(said) > limit:
            _kill(process)
            return bytes(said[:limit]), True
    return bytes(said), False
