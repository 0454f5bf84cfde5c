"""One way to start a zygote, and the sandbox around it: runs, compiles, starts anew after a fault."""

from __future__ import annotations

import json
import logging
from collections import OrderedDict
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from gym_core.sandbox.faults import NoCompiler
from gym_core.sandbox.run import Ended, Kind, Limits, Program, Run

log = logging.getLogger("palaestra.sandbox")

COMPILERS = {"cpp": ("g++", "-x", "c++", "-O2", "-std=gnu++17", "-o", "a.out", "-")}
COMPILE_LIMITS = Limits(cpu_s=30.0, memory_mb=2048, output_bytes=32 << 20)
KEPT_BINARIES = 32
_NOT_FOUND = 127


class Runner(Protocol):
    """What runs programs, one at a time: a zygote of this machine, or a sandbox service."""

    python: str

    @property
    def alive(self) -> bool: ...

    def run(self, program: Program, stdin: bytes, limits: Limits) -> Run: ...

    def close(self) -> None: ...


class Provider(Protocol):
    """Starts zygotes. `strong` says whether programs are kept from files, network and neighbours."""

    @property
    def name(self) -> str: ...

    @property
    def strong(self) -> bool: ...

    def start(self) -> Runner:
        """A zygote that has said hello. Raises `SandboxFault` or `SandboxUnavailable`."""


class Sandbox:
    """Runs untrusted programs, one at a time. Synchronous: it belongs in a worker process."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self._zygote: Runner | None = None
        self._binaries: OrderedDict[tuple[str, str], Program | Run] = OrderedDict()

    @property
    def name(self) -> str:
        return self.provider.name

    @property
    def strong(self) -> bool:
        return self.provider.strong

    @property
    def python(self) -> str:
        """Version of the Python inside."""
        return self._started().python

    def run(self, program: Program, stdin: bytes = b"", limits: Limits | None = None) -> Run:
        """Run a program once, on this input. Raises `SandboxFault` where the sandbox fails, never for the program."""
        return self._started().run(program, stdin, limits or Limits())

    def compile(self, source: str, language: str = "cpp") -> Program | Run:
        """An executable made from this source, or the compiler's run where it refuses. The last few are kept.

        Raises `NoCompiler` where the sandbox has none.
        """
        key = (language, Program(Kind.BINARY, source.encode(errors="replace")).digest)
        made = self._binaries.get(key)
        if made is None:
            made = self._binaries[key] = self._compile(source, language)
            if len(self._binaries) > KEPT_BINARIES:
                self._binaries.popitem(last=False)
        self._binaries.move_to_end(key)
        return made

    def close(self) -> None:
        if self._zygote is not None:
            self._zygote.close()
            self._zygote = None

    def __enter__(self) -> Sandbox:
        self._started()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _started(self) -> Runner:
        if self._zygote is None or not self._zygote.alive:
            self.close()
            self._zygote = self.provider.start()
        return self._zygote

    def _compile(self, source: str, language: str) -> Program | Run:
        if language not in COMPILERS:
            raise NoCompiler(f"nobody here compiles {language!r}", hint=f"known: {', '.join(COMPILERS)}")
        compiler = COMPILERS[language]
        script = f'command -v {compiler[0]} >/dev/null || exit {_NOT_FOUND}; "$@" && cat a.out'
        command = Program(Kind.COMMAND, argv=("/bin/sh", "-c", script, "sh", *compiler))
        run = self.run(command, source.encode(errors="replace"), COMPILE_LIMITS)
        if run.status == _NOT_FOUND:
            raise NoCompiler(f"the sandbox {self.name!r} has no {compiler[0]}", hint=f"install {compiler[0]}")
        return Program(Kind.BINARY, run.stdout) if run.ended is Ended.OK else run


def zygote_command(python: str | Path, folder: str | Path, descriptor: int, options: dict[str, Any]) -> list[str]:
    """How the zygote is started: no bytecode written, UTF-8 everywhere, no user's packages."""
    return [str(python), "-sB", "-X", "utf8", f"{folder}/zygote.py", str(descriptor), json.dumps(options)]
