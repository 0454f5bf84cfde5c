"""Judgements on file, so that tests and demonstrations need no judge: one JSON line for each request and its reply.

    {"digest": "…", "protocol": "equivalence", "model": "…", "messages": [...], "reply": "…", "usage": [12, 3]}

The digest is of the messages alone: which model said it, and how it was sampled, is the recording's business. Where a
request was recorded twice, the later reply counts.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from gym_core.errors import BadRequest, JudgeFault
from gym_core.judge.protocol import Messages


class Recorded(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line; `usage` counts tokens read and written."""

    digest: str
    protocol: str
    model: str
    messages: Messages
    reply: str
    usage: tuple[int, int] = (0, 0)


class Recording:
    """A file of judgements, read once and added to line by line."""

    def __init__(self, path: Path, *, must_exist: bool) -> None:
        self.path = path
        self._by_digest: dict[str, Recorded] = {}
        if must_exist or path.exists():
            self._read()

    def replay(self, protocol: str, messages: Messages) -> Recorded:
        """What the judge said. Raises `JudgeFault` that names the request where it was never recorded."""
        key = digest(messages)
        found = self._by_digest.get(key)
        if found is None:
            asked = str(messages[-1]["content"])[:160]
            raise JudgeFault(
                f"{self.path.name} has no judgement for request {key} of protocol {protocol!r}: {asked!r}",
                field="judge.recorded",
                hint="set `record = true` and `base_url` in [judge] to record it",
            )
        return found

    def write(self, protocol: str, model: str, messages: Messages, reply: str, usage: tuple[int, int]) -> None:
        """Keep a judgement: in memory, and as a line that is complete on disk before this returns."""
        line = Recorded(
            digest=digest(messages), protocol=protocol, model=model, messages=messages, reply=reply, usage=usage
        )
        self._by_digest[line.digest] = line
        with self.path.open("ab") as file:
            file.write(msgspec.json.encode(line) + b"\n")

    def _read(self) -> None:
        try:
            lines = self.path.read_bytes().splitlines()
        except OSError as error:
            raise BadRequest(
                f"cannot read the recorded judgements {self.path}: {error.strerror}", field="judge.recorded"
            ) from None
        for number, line in enumerate(lines, 1):
            try:
                found = msgspec.json.decode(line, type=Recorded)
            except msgspec.DecodeError as error:
                raise BadRequest(f"{self.path}:{number}: {error}", field="judge.recorded") from None
            self._by_digest[found.digest] = found


def digest(messages: Messages) -> str:
    """Identity of a request: 16 hexadecimal digits of what the judge is told."""
    return hashlib.blake2b(msgspec.json.encode(messages, order="deterministic"), digest_size=8).hexdigest()
