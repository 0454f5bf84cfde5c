"""Session ids: `<worker>.<uuid>.<signature>`, the same whichever of a fleet's processes looks at them.

The signature (HMAC-SHA-256 over a secret that the processes share, salted with the environment's name) tells a forged
or altered id from a closed or expired one, and lets the worker part be believed by whoever routes by it. It is compared
in constant time; the table of sessions is only ever asked for a whole id, by hash, so how long a refusal takes says
nothing about a signature either.
"""

from __future__ import annotations

import hashlib
import uuid

from itsdangerous import BadSignature, Signer

MAX_LENGTH = 256


class SessionIds:
    """Makes and checks the ids of one environment. `worker` is this process's name: not empty, without a dot."""

    def __init__(self, secret: bytes, environment: str, worker: str) -> None:
        if not worker or "." in worker:
            raise ValueError(f"a worker name is not empty and has no dot, unlike {worker!r}")
        self.worker = worker
        salt = f"palaestra.session.{environment}"
        self._signer = Signer(secret, salt=salt, digest_method=hashlib.sha256)

    def make(self) -> str:
        """A new id of this worker."""
        return self._signer.sign(f"{self.worker}.{uuid.uuid4().hex}").decode()

    def worker_of(self, session_id: str) -> str | None:
        """Whose session it is, or was; None for an id that none of us signed."""
        if len(session_id) > MAX_LENGTH:
            return None
        try:
            return self._signer.unsign(session_id).decode().partition(".")[0]
        except (BadSignature, UnicodeError):
            return None
