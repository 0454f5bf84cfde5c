"""Names of the HTTP headers that our services and clients exchange."""

from __future__ import annotations

TRACE = "X-Palaestra-Trace"
"""Id of one request through all hops: made at the first door, echoed in replies, logs and errors."""

DEADLINE = "X-Palaestra-Deadline"
"""Seconds (float) that the callee may still use."""

SESSION = "X-Palaestra-Session"
"""Session of an environment, beside the cookie."""

TOOL = "X-Palaestra-Tool"
"""`ok`, `fault` or `exception`: the body is what the model reads, whatever the status."""

PREFER, APPLIED = "Prefer", "Preference-Applied"
"""RFC 7240: what a caller would like and what of it was done; a server that knows a preference not leaves it."""

MINIMAL = "return=minimal"
"""Preference of `/verify`: the verdict alone, without the row."""

CLOSE = "close-session"
"""Preference of `/verify`: with the verdict the session ends. One that is still pending ends nothing."""

IDEMPOTENCY = "Idempotency-Key"
"""The same key twice is the same request."""
