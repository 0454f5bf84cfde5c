"""A fork whose child is a child of our parent: who asked a process for a copy of itself waits for and kills the copy.

    parent ─ starts ─▶ this process ─ fork_sibling() ─▶ copy, whose parent is the same parent

`os.fork` with `CLONE_PARENT` (clone(2)), which Python has no word for: the system call is made as glibc's own fork
makes it, thread id included, between the functions that Python's C interface has for that (`PyOS_BeforeFork`,
`PyOS_AfterFork_*`). Handlers of `pthread_atfork` do not run: a process with more than one thread must not come here.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import sys

_CLONE_PARENT, _CLONE_CHILD_SETTID, _CLONE_CHILD_CLEARTID = 0x00008000, 0x01000000, 0x00200000
_PR_GET_TID_ADDRESS = 40
_CLONE = {"x86_64": 56, "aarch64": 220}
"""Numbers of the system call `clone`; the order of its last two arguments differs."""


def can_fork_sibling() -> bool:
    """Whether this system is one where `fork_sibling` is known to work: Linux with glibc on a usual machine."""
    return sys.platform == "linux" and platform.machine() in _CLONE and _glibc() and _tid_address() is not None


def fork_sibling() -> int:
    """Like `os.fork`: 0 in the child, its process id here. Raises `OSError`, also where the system is another one."""
    address = _tid_address() if can_fork_sibling() else None
    if address is None:
        raise OSError("this system forks no siblings")
    flags = _CLONE_PARENT | _CLONE_CHILD_SETTID | _CLONE_CHILD_CLEARTID | signal.SIGCHLD
    rest = [address, None] if platform.machine() == "x86_64" else [None, address]
    api = ctypes.PyDLL(None, use_errno=True)  # keeps the interpreter's lock, as a fork must
    api.syscall.restype = ctypes.c_long
    number = ctypes.c_long(_CLONE[platform.machine()])
    pointers = [ctypes.c_void_p(value) for value in (None, None, *rest)]
    api.PyOS_BeforeFork()
    pid = int(api.syscall(number, ctypes.c_long(flags), *pointers))
    if pid == 0:
        api.PyOS_AfterFork_Child()
        return 0
    error = ctypes.get_errno()
    api.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(error, os.strerror(error))
    return pid


def _glibc() -> bool:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (ValueError, OSError):  # another library does not know the question
        return False


def _tid_address() -> int | None:
    """Where glibc keeps the id of this thread: the kernel writes the child's there."""
    address = ctypes.c_void_p()
    said = ctypes.CDLL(None).prctl(_PR_GET_TID_ADDRESS, ctypes.byref(address), 0, 0, 0)
    return address.value if said == 0 else None
