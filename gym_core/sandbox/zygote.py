"""The parent's side of a zygote (`inside/zygote.py`): send a job, drain its output, say how it ended.

Program, input and output travel by descriptor between here and the job: sealed memory files inwards, pipes outwards.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any, Protocol

from gym_core.sandbox.faults import SandboxFault
from gym_core.sandbox.run import Ended, Limits, Program, Run

START_TIMEOUT_S = 30.0
GRACE_S = 10.0
"""How much longer than the job's own wall limit the zygote may take to report its end."""

_CHUNK = 1 << 16
_STDERR_KEPT = 4096
_NEARLY = 0.5
"""A job killed after this share of its CPU time was killed for it, not for its memory."""

_SPARE_CPU_S = 1
"""The kernel counts a limit in ticks and may be early: it gets this much more, and the exact count decides."""

_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL


def sealed_file(content: bytes) -> int:
    """A descriptor of a file in memory that nobody can change, at its beginning."""
    descriptor = os.memfd_create("job", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


class Process(Protocol):
    """The zygote's process, as far as its parent sees it: `subprocess.Popen`, or whoever came to the door."""

    stderr: IO[bytes] | None

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def kill(self) -> None: ...


class Zygote:
    """A running zygote. `closed` is called after the last process is gone (control groups, folders)."""

    def __init__(self, process: Process, control: socket.socket, closed: Callable[[], None] = lambda: None) -> None:
        self.process = process
        self.python = ""
        self.cage: dict[str, Any] = {}
        self._control = control
        self._closed = closed
        self._number = 0
        self._loaded: tuple[Program, int] | None = None

    @property
    def alive(self) -> bool:
        return self._control.fileno() >= 0 and self.process.poll() is None

    def hello(self) -> None:
        """Wait for its first words. Raises `SandboxFault` with what it wrote before it gave up."""
        self._control.settimeout(START_TIMEOUT_S)
        with suppress(OSError, ValueError):
            said = json.loads(self._control.recv(_CHUNK))
            self.python, self.cage = said["python"], said.get("cage", {})
            return
        self._end()
        complaint = self.process.stderr.read().decode(errors="replace") if self.process.stderr else ""
        self.close()
        raise SandboxFault(f"the sandbox did not start: {complaint.strip()[-500:] or 'no reason given'}")

    def run(self, program: Program, stdin: bytes, limits: Limits) -> Run:
        """One job from start to end. Raises `SandboxFault` when the zygote fails; it is closed then."""
        self._number += 1
        self.limit_memory(limits.memory_mb)
        given = sealed_file(stdin)
        out, out_end = os.pipe()
        err, err_end = os.pipe()
        try:
            try:
                self._send(program, limits, [self._load(program), given, out_end, err_end])
            finally:
                for descriptor in (given, out_end, err_end):
                    os.close(descriptor)
            return _Watch(self._control, self._number, out, err, limits).run()
        except (OSError, ValueError, KeyError) as error:
            self.close()
            raise SandboxFault(f"the sandbox broke: {error or type(error).__name__}") from None
        except BaseException:
            self.close()
            raise
        finally:
            os.close(out)
            os.close(err)

    def kill(self) -> None:
        """End the job that runs now, from another thread; `run` returns there with what it has. Does nothing else."""
        with suppress(OSError):
            self._control.send(json.dumps({"kill": self._number}).encode())

    def limit_memory(self, memory_mb: int) -> None:
        """Bound the memory of all processes of a job together, where the provider can."""

    def close(self) -> None:
        """Hang up and kill; everything inside ends with it."""
        self._end()
        if self.process.stderr is not None:
            self.process.stderr.close()

    def _end(self) -> None:
        if self._control.fileno() < 0:
            return
        self._control.close()
        if self._loaded is not None:
            os.close(self._loaded[1])
            self._loaded = None
        try:
            self.process.wait(0.5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        self._closed()

    def _load(self, program: Program) -> int:
        """A descriptor of the program, kept for its next test."""
        if self._loaded is None or self._loaded[0] != program:
            if self._loaded is not None:
                os.close(self._loaded[1])
                self._loaded = None
            self._loaded = program, sealed_file(program.content)
        return self._loaded[1]

    def _send(self, program: Program, limits: Limits, descriptors: list[int]) -> None:
        message = {
            "id": self._number,
            "kind": program.kind.value,
            "argv": program.argv,
            "cpu_limit_s": math.ceil(limits.cpu_s) + _SPARE_CPU_S,
            "wall_s": limits.wall_time_s,
            "memory_mb": limits.memory_mb,
            "processes": limits.processes,
            "files": limits.files,
            "disk_mb": limits.disk_mb,
            "inodes": limits.inodes,
        }
        socket.send_fds(self._control, [json.dumps(message).encode()], descriptors)


class _Watch:
    """Drain one job until it has ended."""

    def __init__(self, control: socket.socket, number: int, out: int, err: int, limits: Limits) -> None:
        self.control, self.number, self.out, self.err, self.limits = control, number, out, err, limits
        self.stdout: list[bytes] = []
        self.stderr = b""
        self.num_out = self.num_err = 0
        self.flooded = False

    def run(self) -> Run:
        for descriptor in (self.out, self.err):
            os.set_blocking(descriptor, False)
        poll = select.poll()
        for descriptor in (self.out, self.err, self.control.fileno()):
            poll.register(descriptor, select.POLLIN)
        deadline = time.monotonic() + self.limits.wall_time_s + GRACE_S
        while True:
            ready = {descriptor for descriptor, _ in poll.poll(max(0.0, deadline - time.monotonic()) * 1000)}
            if not ready:
                raise TimeoutError("no report of a job that should have ended long ago")
            for descriptor in ready & {self.out, self.err}:
                if not self._drain(descriptor):
                    poll.unregister(descriptor)
            if self.control.fileno() in ready:
                report = self._report()
                while self._drain(self.out, whole=True) or self._drain(self.err, whole=True):
                    continue
                return self._judge(report)

    def _drain(self, descriptor: int, *, whole: bool = False) -> bool:
        """Take what is there. False at its end, and when nothing more is there for a `whole`."""
        try:
            data = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return not whole
        if not data:
            return False
        if descriptor == self.out:
            self.num_out += len(data)
            if self.num_out <= self.limits.output_bytes:
                self.stdout.append(data)
        else:
            self.num_err += len(data)
            self.stderr = (self.stderr + data)[-_STDERR_KEPT:]
        if max(self.num_out, self.num_err) > self.limits.output_bytes and not self.flooded:
            self.flooded = True
            self.control.send(json.dumps({"kill": self.number}).encode())
        return True

    def _report(self) -> dict[str, Any]:
        packet = self.control.recv(_CHUNK)
        if not packet:
            raise ConnectionError("the zygote is gone")
        report: dict[str, Any] = json.loads(packet)
        if report["id"] != self.number:
            raise ValueError(f"a report of job {report['id']} while {self.number} runs")
        if "fault" in report:
            raise OSError(report["fault"])
        if not report["clean"]:
            raise OSError("the job left files that cannot be deleted")
        return report

    def _judge(self, report: dict[str, Any]) -> Run:
        status = os.waitstatus_to_exitcode(report["status"])
        return Run(
            ended=self._ended(report, status),
            stdout=b"".join(self.stdout),
            stderr=self.stderr,
            status=status,
            cpu_s=report["cpu_s"],
            wall_s=report["wall_s"],
            memory_mb=report["rss_kb"] / 1024,
        )

    def _ended(self, report: dict[str, Any], status: int) -> Ended:
        if self.flooded:
            return Ended.FLOOD
        spent = report["cpu_s"] / self.limits.cpu_s
        if report["why"] == "wall" or spent > 1 or (status == -signal.SIGKILL and spent > _NEARLY):
            return Ended.TIME
        if status == 0:
            return Ended.OK
        if status == -signal.SIGKILL or _ran_out_of_memory(self.stderr):
            return Ended.MEMORY
        return Ended.CRASH


def _ran_out_of_memory(stderr: bytes) -> bool:
    last = stderr.strip().rsplit(b"\n", 1)[-1]
    return last.startswith(b"MemoryError") or b"std::bad_alloc" in stderr[-200:]
