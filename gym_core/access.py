"""What stands at every door: which bearer token may do what.

    access = Access.configured()                  # PALAESTRA_TOKEN, PALAESTRA_SECRETS, PALAESTRA_TOKENS
    access.check(header, "policy:weights")        # or Unauthorized, or Forbidden

Where `PALAESTRA_TOKENS` names a tokens file, that file alone says who may call, and for what; `PALAESTRA_TOKEN` (or
`token` in the secrets file) is then only what this process shows to others. Without it, that one opens everything.
Digests are compared, all of them, in constant time, whichever one fits. A changed file counts within a second; one that
has been emptied lets nobody in.
"""

from __future__ import annotations

import hmac
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from gym_core import auth, token_file
from gym_core.errors import Forbidden, Unauthorized
from gym_core.watched import Watched

ADMIN = "admin"
ANY = ""
"""Open to every valid token: what is asked through such a route is checked by itself."""

_IMPLIED = {"rollouts:run": "rollouts:read"}


class Grant(NamedTuple):
    """One token: its digest, what it opens, and until when (seconds since 1970; 0: for ever)."""

    sha256: str
    scopes: frozenset[str]
    expires: int = 0

    def opens(self, scope: str) -> bool:
        if scope == ANY or ADMIN in self.scopes or scope in self.scopes:
            return True
        return any(_IMPLIED.get(own) == scope for own in self.scopes)


Source = Callable[[], Sequence[Grant]]


class Access:
    """The tokens of one server. Without any source everybody may do everything."""

    def __init__(self, *sources: Source, clock: Callable[[], float] = time.time) -> None:
        self._sources = sources
        self._clock = clock

    @classmethod
    def of(cls, token: Access | str | None) -> Access:
        """An access that opens everything to one token; None: to everybody."""
        if isinstance(token, Access):
            return token
        if not token:
            return cls()
        grants = (_admin(token),)
        return cls(lambda: grants)

    @classmethod
    def configured(cls, environ: Mapping[str, str] | None = None) -> Access:
        """What the environment says. Raises `BadRequest` for a file that is named and cannot be used."""
        environ = os.environ if environ is None else environ
        if path := environ.get(token_file.VARIABLE, ""):
            return cls(Watched(Path(path), lambda: _grants(token_file.read(Path(path)))).get)
        own = auth.own_token(environ)
        return cls() if own is None else cls(_Own(own).grants)

    @property
    def open(self) -> bool:
        """Whether nobody needs a token."""
        return not self._sources

    def __bool__(self) -> bool:
        """Whether there is a token that works now."""
        return any(self._valid(grant) for source in self._sources for grant in source())

    def check(self, header: str | None, scope: str) -> None:
        """Raises `Unauthorized` unless `header` is `Bearer` and a valid token, `Forbidden` where it lacks the scope."""
        if not self._sources:
            return
        kind, _, given = (header or "").partition(" ")
        presented = token_file.digest(given.strip())
        found: Grant | None = None
        for source in self._sources:
            for grant in source():
                if hmac.compare_digest(presented, grant.sha256) and self._valid(grant):
                    found = grant if found is None or grant.opens(scope) else found
        if found is None or kind.lower() != "bearer":
            wrong = "a bearer token is needed" if header is None else "that bearer token is not valid at this server"
            raise Unauthorized(wrong, field="Authorization", hint="send `Authorization: Bearer <token>`")
        if not found.opens(scope):
            raise Forbidden(
                f"that token does not open {scope}", field="Authorization", hint=f"ask for a token with scope {scope}"
            )

    def _valid(self, grant: Grant) -> bool:
        return not grant.expires or self._clock() < grant.expires


class _Own:
    """The grant of the token that this process sends itself; it changes when its file does."""

    def __init__(self, token: Callable[[], str | None]) -> None:
        self._token = token
        self._known = ""
        self._grants: tuple[Grant, ...] = ()

    def grants(self) -> Sequence[Grant]:
        token = self._token() or ""
        if token != self._known:
            self._known, self._grants = token, (_admin(token),) if token else ()
        return self._grants


def _admin(token: str) -> Grant:
    return Grant(token_file.digest(token), frozenset((ADMIN,)))


def _grants(file: token_file.TokenFile) -> tuple[Grant, ...]:
    return tuple(
        Grant(key.sha256, frozenset(holder.scopes), key.expires)
        for holder in file.tokens.values()
        for key in holder.keys
    )
