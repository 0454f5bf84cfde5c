"""A value as text of one of the five formats: what a perfect answer looks like."""

from __future__ import annotations

import csv
import io
import json
from typing import Any
from xml.sax.saxutils import escape


def write(kind: str, value: Any) -> str:
    """The value in this format. XML wants one root key, CSV a list of flat rows, TOML no null."""
    if kind == "json":
        return compact(value)
    if kind == "yaml":
        import yaml

        return yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    if kind == "toml":
        return "\n".join(f"{key} = {_toml(inner)}" for key, inner in value.items())
    if kind == "xml":
        ((tag, inner),) = value.items()
        return _xml(tag, inner)
    return _csv(value)


def compact(value: Any) -> str:
    """JSON without spaces."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(inner) for inner in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def _xml(tag: str, value: Any) -> str:
    if isinstance(value, list):
        return "".join(_xml(tag, inner) for inner in value)
    if isinstance(value, dict):
        inside = "".join(_xml(key, inner) for key, inner in value.items())
    else:
        inside = escape(_cell(value))
    return f"<{tag}>{inside}</{tag}>"


def _csv(rows: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(rows[0])
    writer.writerows([_cell(value) for value in row.values()] for row in rows)
    return out.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
