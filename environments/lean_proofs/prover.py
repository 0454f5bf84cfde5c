"""Lean asked to elaborate: by a warm REPL where there is one, else by `lean --json` on a file; always in a cage.

    compiled = await prover.compile(header, "theorem t : 1 + 1 = 2 := by rfl")
    compiled.errors, compiled.holes, compiled.ended

Places of messages count from the first line of the body, whichever way was taken.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from environments.lean_proofs.confined import Cage, Finished, Limits, run, scratch_folder, write_files
from environments.lean_proofs.pool import MAX_WAITING, ReplPool
from environments.lean_proofs.protocol import Command, Message, Pos
from environments.lean_proofs.repl import Repl, ReplFault
from environments.lean_proofs.toolchain import Toolchain
from gym_core.errors import Busy, DeadlineExceeded, EnvironmentFault, Unavailable

log = logging.getLogger("palaestra.lean")

MEMORY_VARIABLE = "PALAESTRA_LEAN_MEMORY_MB"
USES_SORRY = re.compile(r"declaration uses ['`‘]?sorry['`’]?")
_UNSOLVED = "unsolved goals\n"
_ERROR_STATUS = 1


class LeanFault(EnvironmentFault):
    """Lean itself failed in a way that says nothing of the proof."""

    code = "lean_fault"


@dataclass(slots=True, frozen=True)
class Compiled:
    """What Lean said. `ended` is `ok` (also with errors), `time`, `memory`, `crash` or `flood`; `noise` what was no
    message."""

    messages: list[Message] = field(default_factory=list)
    ended: str = "ok"
    seconds: float = 0.0
    noise: str = ""

    @property
    def errors(self) -> list[Message]:
        return [message for message in self.messages if message.severity == "error"]

    @property
    def holes(self) -> list[Message]:
        """Warnings that a declaration is not proved."""
        return [message for message in self.messages if USES_SORRY.search(message.data)]

    def goals_of(self, line: int) -> list[str] | None:
        """Goals that the proof whose `by` stands in this line leaves open, where those are all that is wrong.

        [] where it is done; None for any other error, also for goals inside a bullet, which no later tactic reaches.
        """
        if self.ended != "ok" or self.holes:
            return None
        left = [error.data.removeprefix(_UNSOLVED) for error in self.errors if _is_open(error, line)]
        if len(left) < len(self.errors):
            return None
        return [goal for text in left for goal in text.split("\n\n")]


def _is_open(error: Message, line: int) -> bool:
    return error.data.startswith(_UNSOLVED) and error.pos.line <= line


class Prover:
    """The Lean of one service. Used on one event loop; `slots` processes at once."""

    def __init__(self, toolchain: Toolchain, limits: Limits | None = None, slots: int | None = None) -> None:
        self.toolchain = toolchain
        self.cage = Cage(toolchain)
        self.limits = limits or _default_limits(toolchain)
        slots = slots or max(1, (os.cpu_count() or 1) - 1)
        self._slots = asyncio.Semaphore(slots)
        self._waiting = 0
        self._checker_works: bool | None = None
        self.pool = ReplPool(lambda: Repl.start(self.cage, self._lasting()), slots) if toolchain.repl else None

    async def compile(self, header: str, body: str) -> Compiled:
        """Elaborate the body after the header. Raises `Unavailable` where this Lean cannot read the header."""
        if self.pool is not None:
            return await self._asked(self.pool, header, body)
        code, lines = f"{header}{body}\n", header.count("\n")
        async with self.scratch({"Main.lean": code}) as folder:
            compiled = await self.lean(folder, "Main.lean")
        return moved(compiled, lines, header)

    async def lean(self, folder: Path, file: str, *options: str) -> Compiled:
        """`lean --json` on a file of a scratch folder. Raises `DeadlineExceeded` past the wall time.

        A proof that is too hard runs out of processor time long before: wall time says something of the machine.
        """
        finished = await self.run(folder, file, "--json", *options)
        if finished.timed_out:
            raise DeadlineExceeded(f"Lean was still at it after {self.limits.wall_s:g} s on a machine that is too busy")
        messages, noise = read_messages(finished.stdout)
        told = any(message.severity == "error" for message in messages)
        noise = (noise + _text(finished.stderr))[-2000:]
        return Compiled(messages, ended(finished, told), finished.seconds, noise)

    async def run(self, folder: Path, file: str, *options: str, limits: Limits | None = None) -> Finished:
        """`lean` on a file of a scratch folder, with its output as it comes."""
        return await self.program(self.toolchain.lean, folder, *options, file, limits=limits)

    async def program(self, program: Path, folder: Path, *arguments: str, limits: Limits | None = None) -> Finished:
        """A program of the toolchain in a scratch folder, when its turn has come."""
        if self._waiting >= MAX_WAITING:
            raise Busy(f"{MAX_WAITING} proofs wait for Lean already", retry_after_s=1.0)
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        try:
            return await run(self.cage, [str(program), *arguments], folder, limits or self.limits)
        finally:
            self._slots.release()

    @asynccontextmanager
    async def scratch(self, files: Mapping[str, str | bytes]) -> AsyncIterator[Path]:
        """A folder with these files, seen by the cage as its working folder."""
        with scratch_folder() as name:
            write_files(Path(name), files)
            yield Path(name)

    async def replay(self, folder: Path, module: str) -> bool | None:
        """Whether `leanchecker` accepts a compiled module of a scratch folder; None where there is none that works.

        It is tried once on a module that is right beyond doubt: a checker that refuses that one is not heard.
        """
        checker = self.toolchain.checker
        if checker is None:
            return None
        if self._checker_works is None:
            async with self.scratch({"Plain.lean": "theorem plain : True := trivial\n"}) as plain:
                compiled = await self.lean(plain, "Plain.lean", "-o", "Plain.olean")
                tried = await self.program(checker, plain, "Plain")
            self._checker_works = compiled.ended == "ok" and not compiled.errors and tried.status == 0
            if not self._checker_works:
                log.warning("leanchecker refuses a plain module and is not used: %s", _text(tried.stderr)[-300:])
        if not self._checker_works:
            return None
        finished = await self.program(checker, folder, module)
        if finished.timed_out:
            raise DeadlineExceeded("leanchecker was still at it on a machine that is too busy")
        return finished.status == 0

    async def close(self) -> None:
        if self.pool is not None:
            await self.pool.close()

    async def _asked(self, pool: ReplPool, header: str, body: str) -> Compiled:
        began = asyncio.get_running_loop().time()
        try:
            async with pool.lease(header) as (repl, env):
                answer = await repl.ask(Command(cmd=body, env=env), self.limits.wall_s)
        except DeadlineExceeded:
            return Compiled(ended="time", seconds=self.limits.wall_s)
        except ReplFault as fault:
            if "refuses the header" in fault.message:
                raise unreadable(fault.message) from None
            return Compiled(ended="crash", noise=fault.message)  # the candidate took its process down
        if answer.message:
            raise LeanFault(f"the Lean REPL says: {answer.message}")
        holes = [
            Message(severity="warning", data="declaration uses 'sorry'", pos=Pos(1, 0)) for _ in answer.sorries[:1]
        ]
        return Compiled(answer.messages + holes, "ok", asyncio.get_running_loop().time() - began)

    def _lasting(self) -> Limits:
        """A REPL lives long: its processor time is bounded question by question."""
        return replace(self.limits, cpu_s=86_400)


def read_messages(stdout: bytes) -> tuple[list[Message], str]:
    """The messages of `lean --json`, one on each line, and what was none."""
    messages, noise = [], []
    for line in stdout.splitlines():
        try:
            messages.append(msgspec.json.decode(line, type=Message))
        except (msgspec.DecodeError, UnicodeDecodeError):
            noise.append(_text(line))
    return messages, "\n".join(noise)


def moved(compiled: Compiled, lines: int, header: str) -> Compiled:
    """The messages counted from the first line after the header's `lines`. Raises `Unavailable` for an error in it."""
    kept = []
    for message in compiled.messages:
        if message.pos.line <= lines and message.severity == "error":
            raise unreadable(f"Lean refuses the header: {message.data[:300]}")
        end = message.endPos
        kept.append(
            msgspec.structs.replace(
                message,
                pos=Pos(message.pos.line - lines, message.pos.column),
                endPos=None if end is None else Pos(end.line - lines, end.column),
            )
        )
    if compiled.ended == "ok" and not header and "unknown package" in compiled.noise:
        raise unreadable(compiled.noise[:300])
    return replace(compiled, messages=kept)


def unreadable(said: str) -> Unavailable:
    """This Lean has not what the task's header imports: no verdict on any proof of it."""
    return Unavailable(said, hint="name a built Lake project that has these libraries in PALAESTRA_LEAN_PROJECT")


def ended(finished: Finished, told_errors: bool = False) -> str:
    """How a run of Lean ended; errors in the proof are an ordinary end, failing without a word is none."""
    if finished.flooded:
        return "flood"
    if finished.timed_out or finished.status in (-24, 152):  # SIGXCPU, seen directly or through bubblewrap
        return "time"
    if finished.status == 0 or (finished.status == _ERROR_STATUS and told_errors):
        return "ok"
    said = (finished.stderr + finished.stdout[-4096:]).lower()
    return "memory" if b"memory" in said or b"bad_alloc" in said else "crash"


def _default_limits(toolchain: Toolchain) -> Limits:
    """More memory where a project's libraries are mapped; `$PALAESTRA_LEAN_MEMORY_MB` decides."""
    named = os.environ.get(MEMORY_VARIABLE, "")
    memory_mb = int(named) if named.isdigit() else 32_768 if toolchain.project else 8192
    return Limits(memory_mb=memory_mb)


def _text(said: bytes) -> str:
    return said.decode(errors="replace")
