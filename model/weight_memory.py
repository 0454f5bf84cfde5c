"""Memory for weights that another process, or another part of this one, may read: handed over by a few numbers.

shared: a memfd, opened elsewhere on this machine as /proc/PID/fd/N. It has no name, so nothing can be left over:
        the kernel frees it with the last process that maps it, however that ends.
local:  a key in a table of this process.

Mapping memory anew costs a fault per page when it is read and as much again to take apart: two thirds of the time in
which 1 GB is copied, each. A learner offers two memories in turn, so `OpenedMemories` keeps its maps of those.
"""

from __future__ import annotations

import itertools
import mmap
import os
import platform
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from model.huge_pages import prefer_huge_pages

_NAME = "palaestra-weights"
_RING = 2
_local: dict[int, Tensor] = {}
_keys = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Handle:
    """Where the bytes are. `fd` -1: in this very process, under `inode` as key; else `inode` is that of the memfd."""

    pid: int
    fd: int
    inode: int
    nbytes: int


class WeightMemory:
    """u8[nbytes] in `tensor`, of zeros. `close` takes the handle back; the bytes live on where they are mapped."""

    def __init__(self, nbytes: int, shared: bool) -> None:
        with torch.inference_mode(False):
            if shared:
                self._fd = os.memfd_create(_NAME, os.MFD_CLOEXEC)
                os.ftruncate(self._fd, nbytes)
                self.tensor = _mapped(self._fd, nbytes)
                inode = os.fstat(self._fd).st_ino
            else:
                self._fd, inode = -1, next(_keys)
                self.tensor = torch.zeros(nbytes, dtype=torch.uint8)
                _local[inode] = self.tensor
            prefer_huge_pages([self.tensor])
        self.handle = Handle(os.getpid(), self._fd, inode, nbytes)

    def close(self) -> None:
        """Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        elif self.handle.fd < 0:
            _local.pop(self.handle.inode, None)


def open_memory(handle: Handle) -> Tensor:
    """The bytes of a handle, u8[nbytes]. Raises ValueError where they are not, or no longer, to be had."""
    if handle.fd < 0:
        if handle.pid != os.getpid() or handle.inode not in _local:
            raise ValueError("weights offered in-process are not in this process: use shared memory, disk or http")
        return _local[handle.inode]
    fd = duplicate(handle)
    try:
        with torch.inference_mode(False):
            return _mapped(fd, handle.nbytes)
    finally:
        os.close(fd)


class OpenedMemories:
    """What one server opened: a memory that is offered again is not mapped again.

    Only memories that did come back are kept, and none of them once another one turns up: whoever makes new memory for
    every version never has an old one held here beside the one that is served.
    """

    def __init__(self) -> None:
        self._seen: list[int] = []
        self._kept: dict[int, Tensor] = {}

    def open(self, handle: Handle) -> Tensor:
        """As `open_memory`."""
        if handle.fd < 0:
            return open_memory(handle)
        fd = duplicate(handle)  # still on offer, and the very memory: a number is not given away while it is mapped
        try:
            found = self._kept.get(handle.inode)
            if found is None:
                with torch.inference_mode(False):
                    found = _mapped(fd, handle.nbytes)
        finally:
            os.close(fd)
        if handle.inode in self._seen:
            self._kept[handle.inode] = found
        else:
            self._kept.clear()
            self._seen = [*self._seen[1 - _RING :], handle.inode]
        return found


def duplicate(handle: Handle) -> int:
    """A file descriptor of our own for shared memory, so that it outlives whoever offered it. Raises ValueError."""
    path = f"/proc/{handle.pid:d}/fd/{handle.fd:d}"
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise ValueError(
            f"the shared memory {path} cannot be opened ({error.strerror}): both sides must run on one machine, in one "
            "process namespace, as one user"
        ) from None
    found = os.fstat(fd)
    if found.st_ino != handle.inode or found.st_size != handle.nbytes:
        os.close(fd)
        raise ValueError(f"{path} is not the memory that was offered: whoever offered it has ended or taken it back")
    return fd


def machine() -> str:
    """What is the same for two processes where one can open the other's shared memory: a running system, a process
    namespace of it, a user."""
    try:
        system = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:  # not Linux, or a /proc that tells less
        system, namespace = platform.node(), ""
    return f"{system} {namespace} {os.getuid()}"


def _mapped(fd: int, nbytes: int) -> Tensor:
    return torch.frombuffer(mmap.mmap(fd, nbytes), dtype=torch.uint8)
