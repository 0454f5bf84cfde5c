"""Prometheus' text format read back, and what two readings of a server say of the time between them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

Labels = tuple[tuple[str, str], ...]
Samples = dict[str, dict[Labels, float]]

_LINE = re.compile(r"([A-Za-z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+\S+)?$")
_LABEL = re.compile(r'([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)"')
_ESCAPED = {"\\n": "\n", '\\"': '"', "\\\\": "\\"}


def read(text: str) -> Samples:
    """Values by metric name and sorted labels; lines that are none are left out."""
    samples: Samples = {}
    for line in text.splitlines():
        if line.startswith("#") or not (found := _LINE.match(line)):
            continue
        name, labels, value = found.groups()
        try:
            number = float(value)
        except ValueError:
            continue
        samples.setdefault(name, {})[_labels(labels)] = number
    return samples


def _labels(text: str | None) -> Labels:
    pairs = _LABEL.findall(text) if text else ()
    return tuple(sorted((name, re.sub(r"\\.", lambda m: _ESCAPED.get(m[0], m[0]), value)) for name, value in pairs))


def without(labels: Labels, *names: str) -> Labels:
    return tuple(pair for pair in labels if pair[0] not in names)


class Latency(NamedTuple):
    """How long something took between two readings, in seconds; quantiles are read off the buckets."""

    num: float
    mean_s: float
    p50_s: float
    p99_s: float


class Between:
    """Two readings of one server, `seconds` apart. Without an earlier one everything since its start counts."""

    def __init__(self, now: Samples, before: Samples | None, seconds: float) -> None:
        self.now, self.before, self.seconds = now, before or {}, max(seconds, 1e-9)

    def gauges(self, name: str) -> Mapping[Labels, float]:
        return self.now.get(name, {})

    def increase(self, name: str) -> dict[Labels, float]:
        """By how much each counter grew; one that shrank was begun anew."""
        before = self.before.get(name, {})
        grown = {}
        for labels, value in self.now.get(name, {}).items():
            step = value - before.get(labels, 0.0)
            grown[labels] = value if step < 0 else step
        return grown

    def rate(self, name: str) -> float:
        """Increase per second, over all labels."""
        return sum(self.increase(name).values()) / self.seconds

    def latencies(self, name: str) -> Iterator[tuple[Labels, Latency]]:
        """Histograms that got something between the readings."""
        sums = self.increase(f"{name}_sum")
        buckets: dict[Labels, list[tuple[float, float]]] = {}
        for labels, value in self.increase(f"{name}_bucket").items():
            edge = float(dict(labels).get("le", "inf"))
            buckets.setdefault(without(labels, "le"), []).append((edge, value))
        for labels, count in self.increase(f"{name}_count").items():
            if count > 0:
                edges = sorted(buckets.get(labels, []))
                mean = sums.get(labels, 0.0) / count
                yield labels, Latency(count, mean, quantile(edges, 0.5), quantile(edges, 0.99))


def quantile(edges: list[tuple[float, float]], share: float) -> float:
    """The value below which `share` of the observations lie, straight within a bucket: (upper edge, count up to it).

    Beyond the last finite edge it is that edge: nothing more is known.
    """
    if not edges or edges[-1][1] <= 0:
        return 0.0
    wanted = share * edges[-1][1]
    low_edge = low_count = 0.0
    for edge, count in edges:
        if count >= wanted:
            if math.isinf(edge):
                return low_edge
            inside = count - low_count
            return low_edge + (edge - low_edge) * ((wanted - low_count) / inside if inside > 0 else 1.0)
        low_edge, low_count = edge, count
    return low_edge
