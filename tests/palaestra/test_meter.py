"""The meter counts children, keeps what ended, and its peak never falls."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest

from palaestra.meter import Meter


def test_cpu_of_a_child_is_counted_and_kept_after_its_end() -> None:
    meter = Meter()
    before = meter.cpu_seconds()
    burn = "import time\nwhile time.process_time() < 0.5: pass\nprint('done', flush=True)\ninput()"
    child = subprocess.Popen([sys.executable, "-c", burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline()
    during = meter.cpu_seconds()
    child.communicate(b"\n")
    assert during - before >= 0.4
    assert meter.cpu_seconds() >= during
    assert any(row["pid"] == child.pid for row in meter.by_process())


def test_the_peak_is_kept() -> None:
    meter = Meter().start()
    meter.stop()
    peak = meter.peak_memory_mb
    assert peak > 5
    meter.cpu_seconds()
    assert meter.peak_memory_mb >= peak


def test_a_process_that_ends_while_it_is_read_is_not_half_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(process: psutil.Process) -> list[str]:
        raise psutil.NoSuchProcess(process.pid)

    meter = Meter()
    monkeypatch.setattr(psutil.Process, "cmdline", gone)
    meter.cpu_seconds()
    assert meter.by_process() == []
