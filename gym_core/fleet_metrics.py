"""One `/metrics` of the processes that share a port: whoever is asked asks the others and tells of all of them.

    process ─▶ the others' /metrics ─▶ counters, histograms and gauges added up; `process_*` under the name of each
                └── one that is not there, or silent ─▶ palaestra_process_up{process} 0, the others are told of

What is added up may fall where a process was started anew, which Prometheus takes for a restart of them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from prometheus_client.utils import floatToGoString

_OWN = "process_"
"""Families of one process alone: its memory, its files, when it began."""


@dataclass(slots=True)
class _Family:
    about: list[str] = field(default_factory=list)
    samples: dict[str, float] = field(default_factory=dict)


def together(texts: Mapping[str, str | None]) -> bytes:
    """What the processes said, by name, as one text in Prometheus' format; None for one that said nothing."""
    families: dict[str, _Family] = {}
    for process, text in texts.items():
        if text is not None:
            _add(families, process, text)
    up = {f'palaestra_process_up{{process="{process}"}}': float(text is not None) for process, text in texts.items()}
    about = ["# HELP palaestra_process_up 1 where the process told its numbers", "# TYPE palaestra_process_up gauge"]
    families["palaestra_process_up"] = _Family(about, up)
    lines = [line for family in families.values() for line in _lines(family)]
    return "\n".join([*lines, ""]).encode()


def _add(families: dict[str, _Family], process: str, text: str) -> None:
    family, fresh = _Family(), True
    for line in text.splitlines():
        if line.startswith("#"):
            name = line.split(" ", 3)[2]
            if line.startswith("# HELP "):
                fresh = name not in families
                family = families.setdefault(name, _Family())
            if fresh:
                family.about.append(line)
            continue
        sample, _, value = line.rpartition(" ")
        if name.startswith(_OWN):
            sample = f'{sample}{{process="{process}"}}'
        family.samples[sample] = family.samples.get(sample, 0.0) + float(value)


def _lines(family: _Family) -> list[str]:
    return family.about + [f"{sample} {floatToGoString(value)}" for sample, value in family.samples.items()]
