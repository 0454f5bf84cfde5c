"""Errors in OpenAI's shape, whole replies and the last event of a stream alike."""

from __future__ import annotations

from typing import Any

import msgspec

from gym_core.errors import ErrorInfo


def openai_error(info: ErrorInfo, status: int) -> dict[str, Any]:
    """OpenAI's error body with our keys in it."""
    kind = "server_error" if status >= 500 else "rate_limit_error" if status == 429 else "invalid_request_error"
    kind = {401: "authentication_error", 403: "permission_error"}.get(status, kind)
    return {"error": {**msgspec.to_builtins(info), "type": kind, "param": info.field or None}}
