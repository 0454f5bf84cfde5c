"""The token plane of one rollout: segments as they come from the policy, laid into traces, never opened."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gym_core.contracts import Rollout, TraceInfo
from gym_core.tokens import segment_sizes


@dataclass(slots=True)
class TurnMark:
    """Where a turn's tokens lie: its trace, and which segment of it; `item` is its last output item."""

    trace: int
    segment: int
    item: int


@dataclass(slots=True)
class _Trace:
    began: str
    segments: list[bytes] = field(default_factory=list)


class TraceBook:
    """Collects segments: one that extends the history is appended, one that does not begins a new trace."""

    def __init__(self) -> None:
        self._traces: list[_Trace] = []
        self.marks: list[TurnMark] = []

    @classmethod
    def reopened(cls, rollout: Rollout, blob: bytes) -> TraceBook:
        """The book of a finished rollout. Marks are known where every turn left a segment, as it does with tokens."""
        book = cls()
        for info in rollout.traces:
            trace, at = _Trace(info.began), info.offset
            for size in segment_sizes(blob[info.offset : info.offset + info.num_bytes]):
                trace.segments.append(blob[at : at + size.num_bytes])
                at += size.num_bytes
            book._traces.append(trace)
        places = [(t, s) for t, trace in enumerate(book._traces) for s in range(len(trace.segments))]
        items = _last_items(rollout.output)
        if len(places) == len(items):
            book.marks = [TurnMark(t, s, item) for (t, s), item in zip(places, items, strict=True)]
        return book

    @property
    def current(self) -> bytes:
        """The trace so far, to be sent with the next turn; b"" before the first."""
        return b"".join(self._traces[-1].segments) if self._traces else b""

    def add(self, segment: bytes, began: str, item: int) -> None:
        """Take the segment of one turn whose last output item has index `item`. An empty segment carries no tokens."""
        if not segment:
            return
        if began or not self._traces:
            self._traces.append(_Trace(began or "start"))
        self._traces[-1].segments.append(segment)
        self.marks.append(TurnMark(len(self._traces) - 1, len(self._traces[-1].segments) - 1, item))

    def segments(self, trace: int) -> list[bytes]:
        return self._traces[trace].segments

    def finish(self) -> tuple[list[TraceInfo], bytes]:
        """All traces end to end, and which bytes are which."""
        infos, blob = [], b"".join(segment for trace in self._traces for segment in trace.segments)
        offset = 0
        for trace in self._traces:
            sizes = [size for segment in trace.segments for size in segment_sizes(segment)]
            num_bytes = sum(len(segment) for segment in trace.segments)
            infos.append(
                TraceInfo(
                    offset=offset,
                    num_bytes=num_bytes,
                    num_tokens=sum(size.num_tokens for size in sizes),
                    num_trainable=sum(size.num_trainable for size in sizes),
                    began=trace.began,
                )
            )
            offset += num_bytes
        return infos, blob


def _last_items(output: list[dict[str, Any]]) -> list[int]:
    """Index of the last item of each turn: what follows it is a tool's output, the user's words, or nothing."""
    answers = [item.get("type") == "function_call_output" or item.get("role") == "user" for item in output] + [True]
    return [n for n in range(len(output)) if not answers[n] and answers[n + 1]]
