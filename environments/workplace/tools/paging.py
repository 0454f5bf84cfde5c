"""One page of a list, with the published numbers about it."""

from __future__ import annotations

from typing import Any

from environments.workplace.desk import Row


def page_of(rows: list[Row], name: str, page: Any, size: Any) -> dict[str, Any]:
    """Page `page` (from 1, brought into range) of `rows` under `name`. Raises what odd numbers raise."""
    total = len(rows)
    pages = (total + size - 1) // size
    page = max(1, min(page, pages)) if pages > 0 else 1
    start = (page - 1) * size
    numbers = {f"total_{name}": total, "page": page, "page_size": size, "total_pages": pages}
    return {name: rows[start : min(start + size, total)], "pagination": numbers}
