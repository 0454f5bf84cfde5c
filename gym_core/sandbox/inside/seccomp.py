"""System calls that no honest solution needs and that an attack on the kernel or on neighbours begins with: refused.

The filter is a list of numbers to refuse (EPERM), the second wall behind namespaces and dropped capabilities: tracing
and reading other processes, namespaces, kernel keyrings, BPF, io_uring, System V objects that outlive their
maker, and the 32-bit and x32 entries to all of these. The zygote installs it once, for itself and all its jobs; `mount`
it still needs, and jobs have no right to it. In a cage, where jobs are the same user as the zygote, each job gets a
second filter. Classic BPF as in linux/Documentation/userspace-api/seccomp_filter.
"""

from __future__ import annotations

import platform

Instruction = tuple[int, int, int, int]

_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050001
_X32 = 0x40000000
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_AF_UNIX = 1

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_SOCKET = {"x86_64": 41, "aarch64": 198}
_PRLIMIT = {"x86_64": 302, "aarch64": 261}
# fmt: off
_REFUSED: dict[str, dict[str, int]] = {
    "x86_64": {
        "shmget": 29, "shmat": 30, "semget": 64, "msgget": 68, "ptrace": 101, "syslog": 103, "mknod": 133,
        "personality": 135, "pivot_root": 155, "chroot": 161, "acct": 163, "umount2": 166, "swapon": 167,
        "reboot": 169, "init_module": 175, "delete_module": 176, "quotactl": 179, "mq_open": 240, "kexec_load": 246,
        "add_key": 248, "request_key": 249, "keyctl": 250, "migrate_pages": 256, "mknodat": 259, "unshare": 272,
        "move_pages": 279, "perf_event_open": 298, "name_to_handle_at": 303, "open_by_handle_at": 304, "setns": 308,
        "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "finit_module": 313, "kexec_file_load": 320,
        "bpf": 321, "userfaultfd": 323, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
        "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
        "pidfd_getfd": 438, "mount_setattr": 442,
    },
    "aarch64": {
        "shmget": 194, "shmat": 196, "semget": 190, "msgget": 186, "ptrace": 117, "syslog": 116, "mknodat": 33,
        "personality": 92, "pivot_root": 41, "chroot": 51, "acct": 89, "umount2": 39, "swapon": 224,
        "reboot": 142, "init_module": 105, "delete_module": 106, "quotactl": 60, "mq_open": 180, "kexec_load": 104,
        "add_key": 217, "request_key": 218, "keyctl": 219, "migrate_pages": 238, "unshare": 97, "move_pages": 239,
        "perf_event_open": 241, "name_to_handle_at": 264, "open_by_handle_at": 265, "setns": 268,
        "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272, "finit_module": 273, "kexec_file_load": 294,
        "bpf": 280, "userfaultfd": 282, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
        "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
        "pidfd_getfd": 438, "mount_setattr": 442,
    },
}
# fmt: on


def refusals(machine: str | None = None) -> list[Instruction] | None:
    """The filter for this machine (`platform.machine()`), or None where its numbers are not known here."""
    machine = machine or platform.machine()
    if machine not in _ARCHITECTURES:
        return None
    numbers = sorted(_REFUSED[machine].values())
    head: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_EQUAL, 0, len(numbers) + 3, _ARCHITECTURES[machine]),
        (_LOAD, 0, 0, _NUMBER),
        (_JUMP_AT_LEAST, len(numbers) + 1, 0, _X32),
    ]
    checks: list[Instruction] = [(_JUMP_EQUAL, len(numbers) - place, 0, number) for place, number in enumerate(numbers)]
    return [*head, *checks, (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE)]


def of_a_cage(machine: str | None = None) -> list[Instruction]:
    """What a job must not do to a zygote of its own user: reach the door where it gets work (a socket of the local
    family), set its limits (`prlimit` of another process). A job in a cage runs only where its machine is known."""
    machine = machine or platform.machine()
    if machine not in _ARCHITECTURES:
        raise OSError(f"no way to cage a program on {machine}")
    return [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_EQUAL, 0, 9, _ARCHITECTURES[machine]),
        (_LOAD, 0, 0, _NUMBER),
        (_JUMP_AT_LEAST, 7, 0, _X32),
        (_JUMP_EQUAL, 0, 2, _SOCKET[machine]),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_JUMP_EQUAL, 4, 3, _AF_UNIX),
        (_JUMP_EQUAL, 0, 2, _PRLIMIT[machine]),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_JUMP_EQUAL, 0, 1, 0),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
