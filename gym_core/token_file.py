"""The file of who may call: names with scopes, and of each token its digest, never the token.

    palaestra token new trainer --scope rollouts:run     ─▶ tokens.json, the token itself is printed once
    palaestra token rotate trainer                       ─▶ a second key; the first one ends a day later

A token is 32 random bytes, so that a plain SHA-256 of it can be kept: there is nothing to guess it from. Writers take
turns and replace the file at once; a reader sees the old one or the new one.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from gym_core.errors import BadRequest, Conflict, UnknownName
from gym_core.nearest import nearest

VARIABLE = "PALAESTRA_TOKENS"
"""Names the file."""

SCOPES = {
    "rollouts:run": "agent server: play, cancel and read rollouts",
    "rollouts:read": "agent server: read stored rollouts",
    "environment:verify": "environments: tasks, sessions, tools, verdicts",
    "sandbox:run": "sandbox service: run programs",
    "policy:generate": "policy server: answers, scores of given tokens, tokenising",
    "policy:weights": "policy server: replace the weights",
    "metrics:read": "every server: /metrics",
    "admin": "everything",
}
"""What a token may be for, and what that opens."""

_PREFIX = "pal_"


class Key(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The digest of one token; times are seconds since 1970, `expires` 0 means never."""

    sha256: str
    created: int
    expires: int = 0


class Holder(msgspec.Struct, kw_only=True):
    """Who holds tokens, and what they open. More than one key while they are being exchanged."""

    scopes: list[str]
    keys: list[Key]


class TokenFile(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """All holders by name."""

    tokens: dict[str, Holder] = {}


def digest(token: str) -> str:
    """SHA-256 of a token, in hexadecimal."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def read(path: Path) -> TokenFile:
    """Raises `BadRequest` for a file that cannot be read or is none of ours; its contents are never quoted."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=TokenFile)
    except OSError as error:
        raise BadRequest(f"cannot read the tokens file {path}: {error.strerror}", field=VARIABLE) from None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise BadRequest(
            f"{path} is not a tokens file", field=VARIABLE, hint="`palaestra token new NAME` writes one"
        ) from None
    for name, holder in found.tokens.items():
        check_scopes(holder.scopes, f"{path}: tokens.{name}.scopes")
    return found


def check_scopes(scopes: Sequence[str], field: str = "scope") -> None:
    """Raises `BadRequest` for no scope at all, or one that nobody knows."""
    if not scopes:
        raise BadRequest("a token needs a scope", field=field, hint="one of " + ", ".join(SCOPES))
    for scope in scopes:
        if scope not in SCOPES:
            near = nearest(scope, SCOPES) or list(SCOPES)
            raise BadRequest(f"there is no scope {scope!r}", field=field, hint="there are: " + ", ".join(near))


def new(path: Path, name: str, scopes: Sequence[str], *, days: float = 0, now: float | None = None) -> str:
    """A token for a new holder; the file is made where there is none. Raises `Conflict` for a name that is taken."""
    check_scopes(scopes)
    with _changing(path) as found:
        if name in found.tokens:
            raise Conflict(f"{name!r} has a token already", field="name", hint="`palaestra token rotate` exchanges it")
        token, key = _mint(now, days)
        found.tokens[name] = Holder(scopes=sorted(set(scopes)), keys=[key])
    return token


def rotate(path: Path, name: str, *, keep_s: float, days: float = 0, now: float | None = None) -> str:
    """Another token for a holder; the ones before are valid for `keep_s` seconds more, those that ended are dropped."""
    moment = time.time() if now is None else now
    with _changing(path) as found:
        holder = _holder(found, name)
        ends = max(1, int(moment + keep_s))
        for key in holder.keys:
            key.expires = min(key.expires, ends) if key.expires else ends
        token, key = _mint(moment, days)
        holder.keys = [*(old for old in holder.keys if old.expires > moment), key]
    return token


def revoke(path: Path, name: str) -> None:
    """Forget a holder and every key of it."""
    with _changing(path) as found:
        _holder(found, name)
        del found.tokens[name]


def _holder(found: TokenFile, name: str) -> Holder:
    if name not in found.tokens:
        near = nearest(name, found.tokens) or sorted(found.tokens)
        raise UnknownName(f"nobody called {name!r} has a token", field="name", hint="there are: " + ", ".join(near))
    return found.tokens[name]


def _mint(now: float | None, days: float) -> tuple[str, Key]:
    created = int(time.time() if now is None else now)
    token = _PREFIX + secrets.token_urlsafe(32)
    return token, Key(sha256=digest(token), created=created, expires=int(created + days * 86400) if days else 0)


@contextlib.contextmanager
def _changing(path: Path) -> Iterator[TokenFile]:
    """The file's contents, written back, for its owner's eyes alone, when the block ends well."""
    if not path.parent.is_dir():
        raise BadRequest(f"there is no folder {path.parent}", field=VARIABLE, hint="make it first")
    with open(os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = read(path) if path.exists() else TokenFile()
        yield found
        fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
