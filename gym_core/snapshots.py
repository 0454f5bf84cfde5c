"""Sessions on disk: one file for each, written whole after every use, so that a restarted server goes on where it was.

What is kept is the row that the session was seeded with, the state, the calls so far, the generator and the idle time;
hidden fields are made again from the row. Only an environment that declares its state can be kept: `setup` annotated
to return a `msgspec.Struct`, or `state_type`, a Struct or a dataclass. Its fields are all there is: what lies elsewhere
(an open file, a module's variable) is not kept.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import random
import time
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from gym_core.environment import CallRecord, Environment, Session, UserTurn
from gym_core.errors import BadRequest

log = logging.getLogger("palaestra.sessions")

SUFFIX = ".session"
_FORMAT = 1


class Snapshot(msgspec.Struct, kw_only=True):
    """One session. `saved_at` is seconds since the epoch, `key` its idempotency key."""

    format: int = _FORMAT
    session_id: str
    environment_version: str
    row: dict[str, Any]
    state: msgspec.Raw
    calls: list[CallRecord]
    rng: tuple[int, tuple[int, ...], float | None]
    key: str
    saved_at: float
    turns: list[UserTurn] = []


def state_type(environment: type[Environment]) -> type | None:
    """The type that the environment declares its state to have; None where it declares none."""
    if environment.state_type is not None:
        return environment.state_type
    try:
        kind = typing.get_type_hints(environment.setup).get("return")
    except NameError:  # a name that only type checkers see
        return None
    return kind if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else None


class Snapshots:
    """The snapshots of one environment's sessions in one process. Raises `BadRequest` for a type without fields."""

    def __init__(self, folder: Path, environment: Environment, kind: type) -> None:
        if not (issubclass(kind, msgspec.Struct) or dataclasses.is_dataclass(kind)):
            raise BadRequest(
                f"`state_type` of {environment.name!r} must be a msgspec Struct or a dataclass, not {kind!r}",
                field="state_type",
            )
        self._folder = folder
        self._version = environment.version
        self._kind = kind
        self._encoder = msgspec.msgpack.Encoder()
        self._states = msgspec.msgpack.Decoder(kind)
        self._decoder = msgspec.msgpack.Decoder(Snapshot)

    def save(self, session: Session, row: dict[str, Any], key: str) -> None:
        """Keep the session as it is now. What cannot be kept is forgotten: a session never comes back in a state that
        it had earlier."""
        path = self._path(session.session_id)
        partial = path.with_suffix(".partial")
        try:
            if type(session.state) is not self._kind:
                raise TypeError(f"the state is {type(session.state).__name__}, declared was {self._kind.__name__}")
            data = self._encoder.encode(self._snapshot(session, row, key))
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            partial.write_bytes(data)
            partial.replace(path)
        except (OSError, TypeError, ValueError, OverflowError) as error:
            log.warning("a session of this server would not survive its restart: %s", error)
            for file in (partial, path):
                _remove(file)

    def _snapshot(self, session: Session, row: dict[str, Any], key: str) -> Snapshot:
        version, internal, gauss = session.rng.getstate()
        return Snapshot(
            session_id=session.session_id,
            environment_version=self._version,
            row=row,
            state=msgspec.Raw(self._encoder.encode(session.state)),
            calls=session.calls,
            rng=(version, internal, gauss),
            key=key,
            saved_at=time.time(),
            turns=session.turns,
        )

    def holds(self, session_id: str) -> bool:
        """Whether the session would come back."""
        return self._path(session_id).exists()

    def drop(self, session_id: str) -> None:
        """Forget a session that is closed."""
        _remove(self._path(session_id))

    def load(self) -> Iterator[Snapshot]:
        """Every session that was kept. One that cannot be read, or is of another version, is named in the log and
        forgotten."""
        for path in sorted(self._folder.glob(f"*{SUFFIX}")) if self._folder.is_dir() else ():
            try:
                snapshot = self._decoder.decode(path.read_bytes())
            except (OSError, msgspec.MsgspecError) as error:
                log.warning("the session in %s cannot be read: %s", path.name, error)
                _remove(path)
                continue
            if (snapshot.environment_version, snapshot.format) != (self._version, _FORMAT):
                log.warning("the session in %s is of version %s", path.name, snapshot.environment_version)
                _remove(path)
                continue
            yield snapshot

    def revive(self, snapshot: Snapshot, task: Any) -> Session:
        """The session again. Raises `ValueError` for a state that is not of the declared type."""
        version, internal, gauss = snapshot.rng
        rng = random.Random()
        rng.setstate((version, internal, gauss))
        return Session(
            session_id=snapshot.session_id,
            task=task,
            state=self._states.decode(snapshot.state),
            calls=snapshot.calls,
            rng=rng,
            turns=snapshot.turns,
        )

    def _path(self, session_id: str) -> Path:
        """Named by the uuid: ids that reach this are our own."""
        return self._folder / f"{session_id.split('.')[1]}{SUFFIX}"


def _remove(path: Path) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as error:
        log.warning("cannot remove %s: %s", path.name, error)
