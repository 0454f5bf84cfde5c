"""Which sandbox to open: the one asked for, else the strongest that works here."""

from __future__ import annotations

import logging
import os

from gym_core.errors import BadRequest
from gym_core.sandbox.bubblewrap import Bubblewrap
from gym_core.sandbox.docker import Docker
from gym_core.sandbox.faults import SandboxFault, SandboxUnavailable
from gym_core.sandbox.plain import Plain
from gym_core.sandbox.provider import Provider, Sandbox

log = logging.getLogger("palaestra.sandbox")

VARIABLE = "PALAESTRA_SANDBOX"
URL_VARIABLE = "PALAESTRA_SANDBOX_URL"
WEAK_VARIABLE = "PALAESTRA_ALLOW_WEAK_SANDBOX"
PROVIDERS: dict[str, type[Provider]] = {"bubblewrap": Bubblewrap, "docker": Docker, "plain": Plain}
"""What this machine can do by itself, strongest first."""

REMOTE = "remote"


def open_sandbox(name: str = "", *, allow_weak: bool | None = None) -> Sandbox:
    """An open sandbox: by name, by `$PALAESTRA_SANDBOX`, the service at `$PALAESTRA_SANDBOX_URL`, else the first of
    bubblewrap, docker, plain that works.

    A weak one (plain) is only opened where it is named, or `allow_weak` (default: `$PALAESTRA_ALLOW_WEAK_SANDBOX` is
    1) says so. Raises `SandboxUnavailable` with the reason of each provider.
    """
    name = name or os.environ.get(VARIABLE, "")
    if not name and os.environ.get(URL_VARIABLE):
        name = REMOTE
    if name:
        return _opened(provider_named(name))
    if allow_weak is None:
        allow_weak = os.environ.get(WEAK_VARIABLE) == "1"
    reasons = []
    for provider in (kind() for kind in PROVIDERS.values()):
        if not provider.strong and not allow_weak:
            reasons.append(f"{provider.name}: too weak")
            continue
        try:
            return _opened(provider)
        except (SandboxUnavailable, SandboxFault) as error:
            log.warning("the sandbox %s cannot be opened: %s", provider.name, error.message)
            reasons.append(f"{provider.name}: {error.message}")
    raise SandboxUnavailable(
        f"no sandbox for untrusted programs: {'; '.join(reasons)}",
        hint=f"install bubblewrap, start Docker, or set {WEAK_VARIABLE}=1 to run programs with mere resource limits",
    )


def provider_named(name: str) -> Provider:
    """Raises `BadRequest` with the names there are."""
    if name == REMOTE:
        from gym_core.sandbox.remote import Remote  # with an HTTP library: 14 MB that only it needs

        return Remote()
    if name not in PROVIDERS:
        known = ", ".join([*PROVIDERS, REMOTE])
        raise BadRequest(f"there is no sandbox {name!r}: it is one of {known}", field=VARIABLE)
    return PROVIDERS[name]()


def _opened(provider: Provider) -> Sandbox:
    sandbox = Sandbox(provider)
    sandbox.__enter__()
    return sandbox
