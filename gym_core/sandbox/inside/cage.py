"""What holds this process, as the kernel tells it: the zygote of a cage reads it before any job, and says it first."""

from __future__ import annotations

import os
from typing import Any

_LIMITS = {
    "memory_limit": ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"),
    "process_limit": ("/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"),
}
_NO_LIMIT = 1 << 60
"""The kernel's largest page-aligned number stands for none in the first version of control groups."""


def facts() -> dict[str, Any]:
    """Plain values; a limit is None where there is none, or where it cannot be seen."""
    status = _status()
    return {
        "first_process": os.getpid() == 1,
        "uid": os.getuid(),
        "capabilities": int(status["CapPrm"], 16) | int(status["CapEff"], 16) | int(status["CapBnd"], 16),
        "no_new_privileges": status["NoNewPrivs"] == "1",
        "seccomp": status["Seccomp"] == "2",
        "interfaces": _interfaces(),
        "read_only_root": bool(os.statvfs("/").f_flag & os.ST_RDONLY),
        **{name: _limit(places) for name, places in _LIMITS.items()},
    }


def _status() -> dict[str, str]:
    with open("/proc/self/status") as lines:
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _interfaces() -> list[str]:
    """Network interfaces beside the loopback."""
    with open("/proc/net/dev") as lines:
        names = [line.partition(":")[0].strip() for line in lines if ":" in line]
    return sorted(set(names) - {"lo"})


def _limit(places: tuple[str, ...]) -> int | None:
    for place in places:
        try:
            with open(place) as text:
                value = text.read().strip()
        except OSError:
            continue
        if value.isdigit() and int(value) < _NO_LIMIT:
            return int(value)
    return None
