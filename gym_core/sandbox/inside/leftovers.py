"""What a job left behind: processes, zombies and files. Needed where jobs have no namespaces of their own."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any


def sweep(options: dict[str, Any]) -> bool:
    """Kill all processes that are not the zygote's own, reap them, empty writable folders. False: files are left."""
    if options["private"]:
        return True
    uid = options.get("uid")
    if uid is not None:
        _as_user(uid, lambda: os.kill(-1, signal.SIGKILL))
    elif os.getpid() == 1:
        with suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
    else:
        _kill_children()
    with suppress(ChildProcessError):
        while True:  # orphans are the zygote's children, and all of them are dying
            os.waitpid(-1, 0)
    return all(_as_user(uid, partial(wipe, folder)) for folder in options["writable"] if os.listdir(folder))


def _as_user(uid: int | None, action: Callable[[], None]) -> bool:
    """Do this in a process of its own, as the jobs' user where there is one: whether it went well."""
    helper = os.fork()
    if helper == 0:
        code = 1
        try:
            if uid is not None:
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
            with suppress(ProcessLookupError):
                action()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(helper, 0)[1] == 0


def _kill_children() -> None:
    """Kill and reap children until there are none: orphans of orphans come to the zygote as their parents end."""
    while True:
        for pid in _children():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _children() -> Iterator[int]:
    for thread in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{thread}/children") as text:
            yield from map(int, text.read().split())


def wipe(folder: str) -> None:
    """Delete everything below, however deep: folders are moved up before they are emptied, so no path gets long."""
    pending = [entry.path for entry in os.scandir(folder)]
    while pending:
        path = pending.pop()
        if os.path.islink(path) or not os.path.isdir(path):
            with suppress(FileNotFoundError):
                os.unlink(path)
            continue
        os.chmod(path, 0o700)
        for entry in list(os.scandir(path)):
            if entry.is_dir(follow_symlinks=False):
                moved = f"{folder}/.{os.urandom(8).hex()}"
                os.chmod(entry.path, 0o700)
                os.rename(entry.path, moved)
                pending.append(moved)
            else:
                os.unlink(entry.path)
        os.rmdir(path)
