"""Secrets: where they come from, where they must not go, and no open door beyond this machine (DESIGN §5.10).

They come from the environment (`PALAESTRA_TOKEN`) or from the TOML file that `PALAESTRA_SECRETS` names. Who may do what
with a token is `gym_core.access`.
"""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gym_core.errors import BadRequest
from gym_core.watched import Watched

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


def require_token_beyond_loopback(host: str | None, token: object) -> None:
    """Raises `BadRequest` when `host` is reachable from outside and there is no `token` (text, or an `Access`)."""
    if not token and not is_loopback(host):
        raise BadRequest(
            f"refusing to listen on {host or 'all addresses'} without a token",
            field="host",
            hint="set PALAESTRA_TOKEN or PALAESTRA_TOKENS, or bind to 127.0.0.1",
        )


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


def own_token(environ: Mapping[str, str] | None = None) -> Callable[[], str | None] | None:
    """The token that this process shows to others, to be asked for at each request: its file may change.

    None where no token is configured. Raises as `secret`.
    """
    environ = dict(os.environ if environ is None else environ)
    path = environ.get("PALAESTRA_SECRETS", "")
    token = secret(environ=environ)
    if path and not environ.get("PALAESTRA_TOKEN", "").strip():
        return Watched(Path(path), lambda: secret(environ=environ)).get if token else None
    return (lambda: token) if token else None


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


def sandbox_token(environ: Mapping[str, str] | None = None) -> str | None:
    """What opens the sandbox service: `PALAESTRA_SANDBOX_TOKEN` (or `sandbox_token` of the secrets file), else ours."""
    return secret("sandbox_token", environ) or secret(environ=environ)


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of worker processes: without our tokens and the names of the files that hold them.

    Where a sandbox service is named, they keep the one token that opens it: it is the only thing they call.
    """
    ours = {"PALAESTRA_SECRETS", "PALAESTRA_TOKENS"}
    kept = {
        name: value
        for name, value in environ.items()
        if name not in ours and not (name.startswith("PALAESTRA_") and is_secret_name(name))
    }
    if environ.get("PALAESTRA_SANDBOX_URL") and (token := sandbox_token(environ)):
        kept["PALAESTRA_SANDBOX_TOKEN"] = token
    return kept


def redact(value: Any) -> Any:
    """A copy of plain data in which texts under secret names, and passwords inside addresses, are masked."""
    if isinstance(value, Mapping):
        return {key: MASK if _holds_secret(key, item) else redact(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact(item) for item in value]
    return _USER_INFO.sub(rf"\1{MASK}", value) if isinstance(value, str) and "@" in value else value


def _holds_secret(key: Any, item: Any) -> bool:
    return isinstance(key, str) and isinstance(item, str) and bool(item) and is_secret_name(key)
