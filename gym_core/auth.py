"""Who may call: one bearer token, compared in constant time, and no open door beyond this machine (DESIGN §5.10).

Secrets come from the environment (`PALAESTRA_TOKEN`) or from the TOML file that `PALAESTRA_SECRETS` names.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gym_core.errors import BadRequest, Unauthorized

MASK = "***"
_SECRET_NAME = re.compile(
    r"((?<!eos)(?<!bos)(?<!pad)(?<!unk)(?<!sep)(?<!cls)(?<!mask)(?<!end)(?<!start)(?<!stop)(?<!special)(^|[_.-])token"
    r"|password|passwd|secret|api[_-]?key|private[_-]?key|secret[_-]?key|authorization|credentials?)$",
    re.IGNORECASE,
)
_USER_INFO = re.compile(r"(://[^/@\s:]*:)[^/@\s]+(?=@)")


def is_loopback(host: str | None) -> bool:
    """Whether only this machine can reach a socket bound to `host`; None, "" and names other than localhost: no."""
    if not host:
        return False
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]").split("%")[0]).is_loopback
    except ValueError:
        return False


def require_token_beyond_loopback(host: str | None, token: str | None) -> None:
    """Raises `BadRequest` when `host` is reachable from outside and there is no token."""
    if not token and not is_loopback(host):
        raise BadRequest(
            f"refusing to listen on {host or 'all addresses'} without a token",
            field="host",
            hint="set PALAESTRA_TOKEN, or bind to 127.0.0.1",
        )


def check_bearer(header: str | None, token: str | None) -> None:
    """Raises `Unauthorized` unless `header` is `Bearer <token>`; without a token everybody may call."""
    if not token:
        return
    scheme, _, given = (header or "").partition(" ")
    same = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), token.encode())
    if scheme.lower() != "bearer" or not same:
        wrong = "a bearer token is needed" if header is None else "that bearer token is not the one of this server"
        raise Unauthorized(wrong, field="Authorization", hint="send `Authorization: Bearer <token>`")


def secret(name: str = "token", environ: Mapping[str, str] | None = None) -> str | None:
    """The secret `name`: `PALAESTRA_<NAME>`, else the key in the file `PALAESTRA_SECRETS`, else None.

    Raises `BadRequest` when the file is named but cannot be used; its contents are never quoted.
    """
    environ = os.environ if environ is None else environ
    value = environ.get(f"PALAESTRA_{name.upper()}", "").strip()
    path = environ.get("PALAESTRA_SECRETS", "")
    if not value and path:
        value = _read_secrets(Path(path)).get(name, "")
        if not isinstance(value, str):
            raise BadRequest(f"the secret `{name}` in {path} must be text", field=name)
    if value and not (value.isascii() and value.isprintable() and " " not in value):
        raise BadRequest(f"the secret `{name}` has characters that no HTTP header carries", field=name)
    return value or None


def _read_secrets(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise BadRequest(f"cannot read the secrets file {path}: {error.strerror}", field="PALAESTRA_SECRETS") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise BadRequest(
            f"the secrets file {path} is not TOML", field="PALAESTRA_SECRETS", hint='write lines like token = "…"'
        ) from None


def is_secret_name(name: str) -> bool:
    """Whether a key of this name holds a secret (`token`, `judge_api_key`, …; not `max_tokens` or `eos_token`)."""
    return _SECRET_NAME.search(name) is not None


def redact(value: Any) -> Any:
    """A copy of plain data in which texts under secret names, and passwords inside addresses, are masked."""
    if isinstance(value, Mapping):
        return {key: MASK if _holds_secret(key, item) else redact(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact(item) for item in value]
    return _USER_INFO.sub(rf"\1{MASK}", value) if isinstance(value, str) and "@" in value else value


def _holds_secret(key: Any, item: Any) -> bool:
    return isinstance(key, str) and isinstance(item, str) and bool(item) and is_secret_name(key)
