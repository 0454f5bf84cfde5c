"""One running Lean REPL: a question, its answer, within a time; killed where it does not answer.

    repl = await Repl.start(cage)
    answer = await repl.ask(Command(cmd="theorem foo : 1 + 1 = 2 := rfl", env=0), timeout_s=30)

One question at a time. A REPL that overran, died or said what nobody understands is over: it never answers again, so
that no later question can get an earlier one's answer.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from environments.lean_proofs.confined import Cage, Limits, end, scratch_folder
from environments.lean_proofs.protocol import Answer, AnyCommand, decode, encode
from gym_core.errors import DeadlineExceeded, EnvironmentFault

MAX_LINES = 200_000


class ReplFault(EnvironmentFault):
    """The REPL died, or answered what is no answer."""

    code = "lean_repl_fault"


class Repl:
    """A process that speaks the protocol on its pipes. `folder` is where its files lie, if it has any."""

    def __init__(
        self, process: asyncio.subprocess.Process, folder: tempfile.TemporaryDirectory[str] | None = None
    ) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._process = process
        self._stdin, self._stdout = process.stdin, process.stdout
        self._folder = folder
        self._lock = asyncio.Lock()
        self._complaints = asyncio.ensure_future(_drain(process.stderr))
        self.asked = 0

    @classmethod
    async def start(cls, cage: Cage, limits: Limits | None = None) -> Repl:
        """A REPL of this cage's toolchain, in a folder of its own. Raises `ReplFault` where there is none."""
        program = cage.toolchain.repl
        if program is None:
            raise ReplFault("no Lean REPL is installed", hint="name its program in PALAESTRA_LEAN_REPL")
        folder = scratch_folder()
        place = Path(folder.name)
        place.chmod(0o755)
        try:
            process = await cage.start([str(program)], place, limits or Limits())
        except BaseException:
            folder.cleanup()
            raise
        return cls(process, folder)

    @classmethod
    async def of(cls, argv: Sequence[str]) -> Repl:
        """A REPL that is any program, without a cage (tests, recordings)."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True, limit=Limits().output_bytes
        )
        return cls(process)

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def ask(self, command: AnyCommand, timeout_s: float = 60.0) -> Answer:
        """The answer. Raises `DeadlineExceeded` or `ReplFault`; the process is gone then, as when the caller goes."""
        async with self._lock:
            if not self.alive:
                raise ReplFault("the Lean REPL is gone")
            self.asked += 1
            try:
                async with asyncio.timeout(timeout_s):
                    self._stdin.write(encode(command))
                    await self._stdin.drain()
                    return await self._answer()
            except TimeoutError:
                await self.close()
                raise DeadlineExceeded(f"Lean did not answer within {timeout_s:g} s; its process was killed") from None
            except (ConnectionError, ValueError, asyncio.IncompleteReadError) as error:
                await self.close()
                raise ReplFault(f"the Lean REPL is gone: {error or type(error).__name__}") from None
            except BaseException:
                await self.close()
                raise

    async def close(self) -> None:
        """End the process and remove its files. Idempotent."""
        await end(self._process, [self._complaints])
        if self._folder is not None:
            self._folder.cleanup()

    async def _answer(self) -> Answer:
        """Lines up to the next empty one."""
        said: list[bytes] = []
        while len(said) < MAX_LINES:
            line = await self._stdout.readline()
            if not line:
                raise ReplFault("the Lean REPL ended in the middle of an answer")
            if line.strip():
                said.append(line)
            elif said:
                try:
                    return decode(b"".join(said))
                except msgspec.DecodeError as error:
                    raise ReplFault(f"the Lean REPL said what is no answer: {error}") from None
        raise ReplFault("the Lean REPL says more than an answer")


async def _drain(stream: asyncio.StreamReader | None) -> None:
    """Read what nobody asked for, so that the process never waits for a reader."""
    while stream is not None and await stream.read(1 << 16):
        continue
