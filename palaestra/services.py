"""Services that a run finds instead of starting its own, and how its warm start gets into a policy server elsewhere.

    trainer ──policy.json {checkpoint, name}──▶ shared folder ──▶ `palaestra serve --follow policy.json`
            ◀────────────────── GET /version {model: name} ──────────────────┘

A run's policy does not exist before its warm start, so the policy server waits for the first hand-over and serves anew
after each: a run that begins, or goes on after a crash, always meets a server that holds exactly its checkpoint.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from gym_core.errors import BadRequest, DeadlineExceeded, PalaestraError, misfit
from palaestra.house import connect

HANDOVER = "policy.json"
WEIGHTS = "weights"
HANDOVER_TIMEOUT_S = 180.0
LOOK_EVERY_S = 0.5
MOST_STREAMS = 16


class Services(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is empty the run starts itself. `--environments` and its like, or `PALAESTRA_SERVICES_…`.

    `environments`, `agent`, `policy`: base URLs. An agent server knows its environments and its policy already, so
    naming one needs the other two; where its name stands for several, each gets its share of a batch. `shared`: a
    folder that this program and the policy server see under the same path, for checkpoints and weights on their way.
    `store`: a path or database URL for runs and metrics, empty for one in the run's folder; the dashboard shows
    rollouts and metrics together where the agent server has the same.
    """

    environments: str = ""
    agent: str = ""
    policy: str = ""
    shared: str = ""
    store: str = ""

    def __post_init__(self) -> None:
        if self.agent and not (self.policy and self.environments):
            raise ValueError("`agent` is of no use without the `policy` and the `environments` that it was told of")
        if self.policy and not self.shared:
            raise ValueError("`policy` needs a `shared` folder, through which it gets its weights")
        for name in ("environments", "agent", "policy"):
            if getattr(self, name) and not _is_address(getattr(self, name)):
                raise ValueError(f"`{name}` is an address such as http://{name}:8000, not {getattr(self, name)!r}")


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a bracket that is not closed
        return False


class Handover(msgspec.Struct, frozen=True, kw_only=True):
    """Which checkpoint to serve, under a name that no other hand-over has; `settings` of the policy server with it."""

    checkpoint: str
    name: str
    settings: dict[str, Any] = {}


async def num_addresses(url: str) -> int:
    """How many servers the host of `url` stands for, as the name service tells now; 1 where it tells nothing."""
    parts = urlsplit(url)
    if not parts.hostname:
        return 1
    ask = asyncio.get_running_loop().getaddrinfo
    try:
        found = await ask(parts.hostname, parts.port, family=socket.AF_INET, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # nobody has that name, or nobody can
        return 1
    return min(len({address for *_, address in found}), MOST_STREAMS)


async def hand_over(
    services: Services, checkpoint: Path, run_id: str, *, timeout_s: float = HANDOVER_TIMEOUT_S, **settings: Any
) -> None:
    """Have the policy server serve this checkpoint; returns once it does. Raises `DeadlineExceeded`."""
    handover = Handover(checkpoint=str(checkpoint), name=f"{run_id}-{secrets.token_hex(4)}", settings=settings)
    path = Path(services.shared) / HANDOVER
    try:
        write_handover(path, handover)
    except OSError as error:
        raise BadRequest(f"cannot write {path}: {error.strerror}", field="shared") from None
    last = "it serves another checkpoint"
    try:
        async with asyncio.timeout(timeout_s), connect(services.policy, retries=0, timeout_s=10.0) as client:
            while True:
                try:
                    told: dict[str, Any] = await client.get_json("/version")
                    if told.get("model") == handover.name:
                        return
                except PalaestraError as error:
                    if not error.retryable and error.status < 500:
                        raise
                    last = str(error)
                await asyncio.sleep(LOOK_EVERY_S)
    except TimeoutError:
        raise DeadlineExceeded(
            f"{services.policy} does not serve {checkpoint} after {timeout_s:.0f} s: {last}",
            stage="start",
            server="policy",
            hint=f"it runs `palaestra serve --follow {path}`, and sees that folder under the same path?",
        ) from None


def write_handover(path: Path, handover: Handover) -> None:
    """Write it whole: no reader ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(msgspec.json.encode(handover))
    partial.replace(path)


def read_handover(path: Path) -> Handover | None:
    """The hand-over that is there now, None where there is none yet. Raises `BadRequest` where it is another file."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Handover)
    except FileNotFoundError:
        return None
    except msgspec.ValidationError as error:
        what, field = misfit(error)
        raise BadRequest(f"{path} is no hand-over: {what}", field=field.lstrip(".")) from None
    except msgspec.DecodeError as error:
        raise BadRequest(f"{path} is no hand-over: {error}", field="follow") from None
