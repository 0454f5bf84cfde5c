"""What is run, within which limits, and how it ended."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from enum import StrEnum


@dataclass(slots=True, frozen=True)
class Limits:
    """Limits of one run. CPU and wall time in seconds; `memory_mb` is address space of each process and, where there
    is a control group, memory of all together; `disk_mb` and `inodes` bound the private `/tmp`.

    `wall_s` is None for twice the CPU time and a second: a program is to be judged by its own work, not by the load of
    the machine.
    """

    cpu_s: float = 10.0
    wall_s: float | None = None
    memory_mb: int = 1024
    output_bytes: int = 16 << 20
    processes: int = 64
    files: int = 64
    disk_mb: int = 64
    inodes: int = 4096

    def __post_init__(self) -> None:
        if not (0 < self.cpu_s < math.inf and 0 < self.wall_time_s < math.inf):
            raise ValueError(f"times must be positive and finite, not cpu_s={self.cpu_s}, wall_s={self.wall_s}")
        if min(self.output_bytes, self.processes, self.disk_mb, self.inodes) < 1 or self.files < 8:
            raise ValueError(f"a limit is too small to run anything: {self}")
        if self.memory_mb < 64:
            raise ValueError(f"an interpreter needs 64 MB at least, not memory_mb={self.memory_mb}")

    @property
    def wall_time_s(self) -> float:
        return 2 * self.cpu_s + 1 if self.wall_s is None else self.wall_s


class Kind(StrEnum):
    """How a program is started."""

    PYTHON = "python"
    BINARY = "binary"
    COMMAND = "command"


@dataclass(slots=True, frozen=True)
class Program:
    """Python source, the bytes of an executable, or a command (`argv`) of the sandbox itself."""

    kind: Kind
    content: bytes = b""
    argv: tuple[str, ...] = ("main",)

    @property
    def digest(self) -> str:
        return hashlib.blake2b(self.content, digest_size=16).hexdigest()


def python_program(source: str) -> Program:
    """A Python program, run as `python main.py` would. Lone surrogates become `?`."""
    return Program(Kind.PYTHON, source.encode(errors="replace"), ("main.py",))


class Ended(StrEnum):
    """How a run ended. `OK` is exit status 0 within all limits, and says nothing of the output."""

    OK = "ok"
    TIME = "time"
    MEMORY = "memory"
    CRASH = "crash"
    FLOOD = "flood"


@dataclass(slots=True, frozen=True)
class Run:
    """One finished run. `status` is the exit status, or minus the signal; `stderr` its last few thousand bytes."""

    ended: Ended
    stdout: bytes
    stderr: bytes
    status: int
    cpu_s: float
    wall_s: float
    memory_mb: float
