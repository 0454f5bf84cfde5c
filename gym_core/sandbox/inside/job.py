"""One job: from a fork of the zygote to a process that has nothing but its program, and then runs it as `__main__`."""

from __future__ import annotations

import _thread
import atexit
import gc
import importlib
import os
import resource
import signal
import sys
import threading
import traceback
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import kernel
import seccomp

_THREAD_STACK_BYTES = 8 << 20
# fmt: off
_PRELOADED = (
    "array", "bisect", "cmath", "collections", "copy", "datetime", "decimal", "fractions", "functools", "heapq", "io",
    "itertools", "json", "math", "operator", "queue", "random", "re", "string", "threading", "typing",
)
# fmt: on
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}


class Program(NamedTuple):
    """What a job runs. `content` is Python source; `descriptor` an executable file; else `argv` names one."""

    kind: str
    argv: list[str]
    content: bytes = b""
    descriptor: int = -1


def preload(home: str) -> None:
    """Import what programs import and set their environment, once, before any of them is forked."""
    for name in _PRELOADED:
        importlib.import_module(name)
    sys.path[:] = [place for place in sys.path if place != os.path.dirname(os.path.abspath(__file__))]
    _thread.stack_size(_THREAD_STACK_BYTES)
    os.environ.clear()
    os.environ.update(_ENVIRONMENT, HOME=home, TMPDIR=home)


def prepare(message: dict[str, Any], descriptors: list[int], options: dict[str, Any], writer: int) -> Program:
    """Turn this fork into the job: places, descriptors, limits, no rights. Says `ready`, or what went wrong."""
    try:
        os.setsid()
        if options["private"]:
            _private_places(message)
        program = _take(message, descriptors, writer)
        os.chdir(options["writable"][0])
        _limit(message, options.get("spare_processes", 0))
        _drop(options)
    except BaseException as error:
        os.write(writer, f"{type(error).__name__}: {error}".encode())
        os._exit(1)
    os.write(writer, b"ready")
    os.close(writer)
    return program


def _private_places(message: dict[str, Any]) -> None:
    """Empty folders and a `/proc` of this job's own."""
    size = f"size={message['disk_mb']}m,nr_inodes={message['inodes']},mode=1777"
    kernel.mount("tmpfs", "/tmp", size)
    kernel.mount("tmpfs", "/dev/shm", size)
    kernel.mount("proc", "/proc")


def _take(message: dict[str, Any], descriptors: list[int], writer: int) -> Program:
    """Read the program, put the streams in their places, close everything else."""
    code, *streams = descriptors
    kind, content, keep = message["kind"], b"", {writer}
    if kind == "python":
        content = os.pread(code, os.fstat(code).st_size, 0)
    if kind == "binary":
        keep.add(code)
    for place, stream in enumerate(streams):
        os.dup2(stream, place, inheritable=True)
    low = 3
    for descriptor in sorted(keep):
        os.closerange(low, descriptor)
        low = descriptor + 1
    os.closerange(low, 4096)
    return Program(kind, message["argv"], content, code)


def _limit(message: dict[str, Any], spare_processes: int) -> None:
    memory, files = message["memory_mb"] << 20, message["disk_mb"] << 20
    stack = min(resource.getrlimit(resource.RLIMIT_STACK)[0], memory)
    for which, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_STACK, stack),
        (resource.RLIMIT_CPU, message["cpu_limit_s"]),
        (resource.RLIMIT_FSIZE, files),
        (resource.RLIMIT_NOFILE, message["files"]),
        (resource.RLIMIT_NPROC, message["processes"] + spare_processes),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_AS, memory),
    ):
        _, hard = resource.getrlimit(which)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (value, value))


def _drop(options: dict[str, Any]) -> None:
    """No rights, no way to get any, first to go when memory is short."""
    kernel.show_memory()  # its own /proc files belong to it again
    with open("/proc/self/oom_score_adj", "w") as score:
        score.write("1000")
    uid = options.get("uid")
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        kernel.die_with_parent(signal.SIGKILL)  # a change of user clears both
        kernel.show_memory()
    kernel.drop_capabilities()
    if options.get("caged"):
        kernel.install_filter(seccomp.of_a_cage())


def run(program: Program) -> None:
    """Never returns: the program runs in this process, as if it had been started by hand."""
    if program.kind == "python":
        _run_python(program.content)
    path: Any = program.descriptor if program.kind == "binary" else program.argv[0]
    try:
        os.execve(path, program.argv, dict(os.environ))
    except OSError as error:
        print(f"cannot be executed: {error}", file=sys.stderr, flush=True)
        os._exit(126)


def _run_python(source: bytes) -> None:
    """`python main.py`: a fresh `__main__`, exceptions to stderr, threads joined, exit handlers run, output flushed."""
    main = types.ModuleType("__main__")
    main.__dict__.update(__builtins__=__builtins__, __file__="main.py", __annotations__={})
    sys.modules["__main__"] = main
    for name in ("cage", "job", "kernel", "leftovers", "seccomp"):
        sys.modules.pop(name, None)
    gc.enable()
    code = _outcome(lambda: exec(compile(source, "main.py", "exec", dont_inherit=True), main.__dict__))
    code = _outcome(threading._shutdown) or code  # type: ignore[attr-defined]
    code = _outcome(atexit._run_exitfuncs) or code
    code = (_outcome(lambda: sys.stdout.flush()) and 120) or code
    os._exit(code)


def _outcome(action: Callable[[], Any]) -> int:
    """The exit status that the interpreter gives to what this action raises."""
    try:
        action()
        return 0
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return (end.code or 0) & 0xFF
        return _say(str(end.code))
    except MemoryError:
        return _say("MemoryError")
    except BaseException as error:
        return _say("".join(traceback.format_exception(type(error), error, _own_frames(error))))


def _own_frames(error: BaseException) -> types.TracebackType | None:
    """The traceback from the program on, without the lines of this file."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    return frames


def _say(text: str) -> int:
    os.write(2, text.encode(errors="backslashreplace")[-8192:] + b"\n")
    return 1
