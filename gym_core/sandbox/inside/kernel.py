"""System calls that Python 3.11 has no name for: namespaces, mounts, capabilities, process control."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct
from collections.abc import Iterable

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWPID = 0x00020000, 0x08000000, 0x20000000
_CLONE_CHILD_CLEARTID, _CLONE_CHILD_SETTID = 0x00200000, 0x01000000
_SYS_CLONE = {"x86_64": 56, "aarch64": 220}
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER = 1, 4, 36
_PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, _PR_SET_SECCOMP = 38, 47, 4, 22
_PR_GET_TID_ADDRESS = 40
_SECCOMP_MODE_FILTER = 2
_CAPABILITY_VERSION_3 = 0x20080522

_INSTRUCTION = struct.Struct("=HBBI")
_libc = ctypes.CDLL(None, use_errno=True)
_with_lock = ctypes.PyDLL(None, use_errno=True)
_no_capabilities = ((ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)())


def _check(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def prctl(option: int, argument: int = 0) -> None:
    """`prctl(2)`. Raises `OSError`."""
    _check(_libc.prctl(option, ctypes.c_ulong(argument), 0, 0, 0), f"prctl({option})")


def fork_into(flags: int) -> int:
    """Fork into new namespaces: 0 in the child, which is the first process of its pid namespace.

    A tenth of the page faults of `os.fork`, which resets what threads may have left half done: call it from a process
    without threads. The C library keeps a thread's id at an address that its own `fork` has the kernel update; this
    asks for the same. Unlike after `os.fork` the child's `random` goes on from the parent's state. Raises `OSError`,
    also on machines whose system calls are not known here.
    """
    number = _SYS_CLONE.get(platform.machine())
    if number is None:
        raise OSError(f"no way to make namespaces on {platform.machine()}")
    place = ctypes.c_void_p()
    _check(_libc.prctl(_PR_GET_TID_ADDRESS, ctypes.byref(place), 0, 0, 0), "prctl(PR_GET_TID_ADDRESS)")
    asked = flags | signal.SIGCHLD | _CLONE_CHILD_SETTID | _CLONE_CHILD_CLEARTID
    last = (place, None) if platform.machine() == "x86_64" else (None, place)
    pid: int = _with_lock.syscall(ctypes.c_long(number), ctypes.c_ulong(asked), None, None, *last)
    _check(int(pid < 0), "clone")
    return pid


def mount(kind: str, place: str, options: str = "") -> None:
    """Mount a file system of this kind (`tmpfs`, `proc`) there. Raises `OSError`."""
    name, where = kind.encode(), place.encode()
    flags = _MS_NOSUID | _MS_NODEV | (_MS_NOEXEC if kind == "proc" else 0)
    _check(_libc.mount(name, where, name, ctypes.c_ulong(flags), options.encode() or None), f"mount {place}")


def drop_capabilities() -> None:
    """Give every capability away, for good."""
    _libc.prctl(_PR_CAP_AMBIENT, ctypes.c_ulong(_PR_CAP_AMBIENT_CLEAR_ALL), 0, 0, 0)
    _check(_libc.capset(*_no_capabilities), "capset")


def gain_no_privileges() -> None:
    """No program that is executed from now on has more rights than the one that executes it."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def hide_memory() -> None:
    """No other process without capabilities may trace this one or read its `/proc` files."""
    prctl(_PR_SET_DUMPABLE, 0)


def show_memory() -> None:
    """Undo `hide_memory` in a forked child, so that it can open its own `/dev/stdin`."""
    prctl(_PR_SET_DUMPABLE, 1)


def adopt_orphans() -> None:
    """Processes whose parents ended become children of this one."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(number: int) -> None:
    """Get this signal when the parent ends."""
    prctl(_PR_SET_PDEATHSIG, number)


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def install_filter(instructions: Iterable[tuple[int, int, int, int]]) -> None:
    """Install a seccomp filter: classic BPF instructions `(code, jt, jf, k)`. Needs no-new-privileges."""
    packed = b"".join(_INSTRUCTION.pack(*instruction) for instruction in instructions)
    program = ctypes.byref(_Filter(len(packed) // _INSTRUCTION.size, packed))
    _check(_libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), program, 0, 0), "seccomp")
