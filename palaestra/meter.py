"""What a run costs: CPU seconds and memory of this process and all its descendants, read from /proc as they live.

CPU time of a process that ended between two readings is kept at its last reading, so the figure is a floor that errs by
at most one interval per short-lived process. Memory is read less often: the kernel walks every page for it.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import psutil

INTERVAL_S = 0.5

MEMORY_SHARE = 0.01
"""Of the time may go into reading memory; each reading is followed by so long a rest."""


class Meter:
    """Samples the process tree in a thread of its own between `start` and `stop`."""

    def __init__(self) -> None:
        self._root = psutil.Process()
        self._cpu: dict[tuple[int, float], float] = {}
        self._names: dict[tuple[int, float], str] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="meter", daemon=True)
        self.peak_memory_mb = 0.0
        self._memory_at = 0.0
        self._began = time.monotonic()

    def start(self) -> Meter:
        self._read()
        self._thread.start()
        return self

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self._read()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def cpu_seconds(self) -> float:
        """CPU seconds of the whole tree so far, user and system."""
        self._read()
        with self._lock:
            return sum(self._cpu.values())

    def by_process(self) -> list[dict[str, Any]]:
        """CPU seconds per process, largest first: the evidence behind the sum."""
        with self._lock:
            rows = [
                {"pid": key[0], "name": self._names[key], "cpu_seconds": round(cpu, 2)}
                for key, cpu in self._cpu.items()
            ]
        return sorted(rows, key=lambda row: -row["cpu_seconds"])

    def _loop(self) -> None:
        while not self._stop.wait(INTERVAL_S):
            self._read()

    def _read(self) -> None:
        with self._lock:
            processes = [self._root, *self._root.children(recursive=True)]
            for process in processes:
                try:
                    with process.oneshot():
                        key = (process.pid, process.create_time())
                        if key not in self._names:  # first: a process that ends right here has neither name nor time
                            self._names[key] = " ".join(process.cmdline()[:4])[:120]
                        times = process.cpu_times()
                        self._cpu[key] = times.user + times.system
                except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                    continue
            if (began := time.monotonic()) >= self._memory_at:
                self.peak_memory_mb = max(self.peak_memory_mb, sum(_pss_mb(process.pid) for process in processes))
                took = time.monotonic() - began
                self._memory_at = began + took / MEMORY_SHARE


def _pss_mb(pid: int) -> float:
    """Proportional set size: shared pages counted once over the tree; 0 for a process that is gone."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            for line in file:
                if line.startswith("Pss:"):
                    return int(line.split()[1]) / 1024
    except OSError:
        return 0.0
    return 0.0
