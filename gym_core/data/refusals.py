"""What was refused and why: every row in a side file, and a report that groups them by the field that did not fit."""

from __future__ import annotations

import base64
import dataclasses
import re
from typing import Any

from gym_core.data.lines import Line
from gym_core.errors import ErrorInfo

SHOWN_LINES = 20
"""Line numbers that the report gives for one reason; the side file has all of them."""

MAX_REASONS = 100
"""Reasons told apart by their message; beyond, only by code and field."""

_INDEX = re.compile(r"\[\d+\]")
_NUMBER = re.compile(r"\d+")


@dataclasses.dataclass(slots=True)
class Reason:
    """Rows refused for the same reason: how many, the first lines, and what was said of the first one."""

    code: str
    field: str
    message: str
    hint: str
    count: int = 0
    lines: list[int] = dataclasses.field(default_factory=list)


class Refusals:
    """Counts refusals by code, field and message; numbers and indices in them do not make another reason."""

    def __init__(self) -> None:
        self.count = 0
        self._reasons: dict[tuple[str, str, str], Reason] = {}

    def add(self, line: int, error: ErrorInfo) -> None:
        where = _INDEX.sub("[]", error.field)
        key = (error.code, where, _NUMBER.sub("#", error.message))
        if key not in self._reasons and len(self._reasons) >= MAX_REASONS:
            key = (error.code, where, "")
        reason = self._reasons.setdefault(key, Reason(error.code, where, error.message, error.hint))
        self.count += 1
        reason.count += 1
        if len(reason.lines) < SHOWN_LINES:
            reason.lines.append(line)

    def report(self) -> list[dict[str, Any]]:
        """The reasons, most frequent first."""
        reasons = sorted(self._reasons.values(), key=lambda reason: (-reason.count, reason.lines[0]))
        return [
            {
                "field": reason.field,
                "code": reason.code,
                "count": reason.count,
                "lines": reason.lines,
                "message": reason.message,
                "hint": reason.hint,
            }
            for reason in reasons
        ]


def refused_row(line: Line, error: ErrorInfo, row: Any = None) -> dict[str, Any]:
    """A line of the side file: where, why, and the row as it came (its bytes in base64 where they are no text)."""
    told: dict[str, Any] = {"line": line.number, "error": error}
    if row is not None:
        return told | {"row": row}
    try:
        return told | {"text": line.data.decode()}
    except UnicodeDecodeError:
        return told | {"base64": base64.b64encode(line.data).decode()}
