"""Ways for new weights from the learner to the policy server; `WeightPublisher` is told one of them.

    in_process     memory of this process that the served model then lies in: one copy
    shared_memory  the same through a memfd, for processes of one machine
    http           the bytes of that memory as the body of a request, from wherever the learner is to another machine
    disk           a safetensors file on tmpfs, or on a file system that both sides see

The first two write once and hand over an address; checksums of what the learner has and of what is served are then
computed on both sides at the same time, but where a learner of several processes has computed its own already. The
last two carry checksums along, compared before anything is exchanged.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Protocol

import msgspec

from gym_core.client import Client
from gym_core.errors import BadRequest, Conflict, DeadlineExceeded, PalaestraError
from trainer.placement import Handle as Learner


class PublishFault(PalaestraError):
    """The policy server does not hold the weights that were sent."""

    code: ClassVar[str] = "publish_fault"


class Phases:
    """The phases of one publication, each at most `limit_s` long; `seconds` by name."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self.seconds: dict[str, float] = {}

    @asynccontextmanager
    async def __call__(self, name: str) -> AsyncIterator[None]:
        """Bound and time a phase. What fails in it names it: `stage` of the error, where it has none."""
        began = time.perf_counter()
        try:
            async with asyncio.timeout(self.limit_s):
                yield
        except TimeoutError:
            raise DeadlineExceeded(
                f"publishing stopped: the phase `{name}` took over {self.limit_s:g} s", stage=name
            ) from None
        except PalaestraError as error:
            error.stage = error.stage or name
            raise
        finally:
            self.seconds[name] = time.perf_counter() - began


class Loaded(msgspec.Struct):
    """What the policy server says of the weights it serves."""

    version: int
    checksums: dict[str, str] = {}


class Transport(Protocol):
    """Brings the learner's weights into a policy server and makes sure that they arrived."""

    async def deliver(self, learner: Learner, client: Client, order: dict[str, Any], phases: Phases) -> None:
        """Return once `order["version"]` is served, as the learner has it. Raises `PublishFault` where it is not.

        order: `version`, `switch` ("between_tokens" or "drain"), `switch_s`.
        """
        ...

    async def close(self) -> None: ...


class Disk:
    """A safetensors file in `directory`, by default a new one on tmpfs."""

    def __init__(self, directory: Path | None = None) -> None:
        self._owned = None if directory else tempfile.TemporaryDirectory(prefix="palaestra-weights-", dir=_tmpfs())
        self._directory = directory or Path(str(self._owned and self._owned.name))

    async def deliver(self, learner: Learner, client: Client, order: dict[str, Any], phases: Phases) -> None:
        path = self._directory / f"weights-{order['version']}.safetensors"
        try:
            async with phases("write"):
                checksums = await learner.call("export", str(path))
            async with phases("switch"):
                body = {**order, "path": str(path), "checksums": checksums}
                reply: Loaded = await client.post_json(
                    "/weights", body, Loaded, timeout_s=phases.limit_s, idempotent=True
                )
            compare(checksums, reply, order["version"])
        finally:
            path.unlink(missing_ok=True)

    async def close(self) -> None:
        if self._owned is not None:
            self._owned.cleanup()


class Memory:
    """Memory that the served model then lies in; `shared` between processes, or within this one."""

    def __init__(self, shared: bool = True) -> None:
        self._shared = shared

    async def deliver(self, learner: Learner, client: Client, order: dict[str, Any], phases: Phases) -> None:
        async with phases("write"):
            offer = await learner.call("offer_weights", self._shared)
        taken: bool | None = None
        try:
            async with phases("switch"):
                body = {**order, "memory": offer.handle, "layout": offer.layout}
                await client.post_json("/weights", body, Loaded, timeout_s=phases.limit_s, idempotent=True)
            taken = True
        except (BadRequest, Conflict):
            taken = False
            raise
        finally:
            await learner.call("settle_weights", self._shared, taken)
        async with phases("verify"):
            served: Loaded
            ours, served = await asyncio.gather(
                _checksums(learner, offer),
                client.get_json("/weights/checksums", Loaded, timeout_s=phases.limit_s),
            )
        compare(ours, served, order["version"])

    async def close(self) -> None:
        """The learner's memory ends with it."""


class Http:
    """The weights as a request's body, in pieces, which the learner sends itself: it and the policy server may each be
    on any machine, as long as one reaches the other at the client's address."""

    async def deliver(self, learner: Learner, client: Client, order: dict[str, Any], phases: Phases) -> None:
        async with phases("write"):
            offer = await learner.call("offer_weights", False)
            checksums = await _checksums(learner, offer)
        try:
            async with phases("switch"):
                head = {**order, "checksums": checksums}
                await learner.call("send_weights", False, client.base_url, head, phases.limit_s)
        finally:
            await learner.call("settle_weights", False, False)  # it was read, not adopted: the memory is free again
        async with phases("verify"):
            served: Loaded = await client.get_json("/weights/checksums", Loaded, timeout_s=phases.limit_s)
        compare(checksums, served, order["version"])

    async def close(self) -> None:
        """The learner's memory ends with it."""


async def _checksums(learner: Learner, offer: Any) -> dict[str, str]:
    """Of what the learner has, as it told them with the offer or tells them now."""
    found: dict[str, str] = offer.checksums or await learner.call("weight_checksums")
    return found


NAMES = ("in_process", "shared_memory", "http", "disk")


def make(name: str) -> Transport:
    """The transport of this name. Raises `BadRequest` for another one."""
    made: dict[str, Callable[[], Transport]] = {
        "in_process": partial(Memory, shared=False),
        "shared_memory": Memory,
        "http": Http,
        "disk": Disk,
    }
    if name not in made:
        raise BadRequest(f"no transport is called {name!r}", field="publish.transport", hint=", ".join(NAMES))
    return made[name]()


def compare(ours: dict[str, str], reply: Loaded, version: int) -> None:
    """Raises PublishFault naming the first tensors that differ."""
    missing = sorted(set(ours) - set(reply.checksums))
    extra = sorted(set(reply.checksums) - set(ours))
    wrong = sorted(name for name in set(ours) & set(reply.checksums) if ours[name] != reply.checksums[name])
    faults = [f"{len(names)} {what} ({', '.join(names[:3])})" for what, names in
              (("not loaded", missing), ("unknown to the learner", extra), ("different", wrong)) if names]  # fmt: skip
    if reply.version != version:
        faults.append(f"version {reply.version} instead of {version}")
    if faults:
        raise PublishFault(
            f"the policy server does not hold version {version}: " + "; ".join(faults),
            stage="weights",
            server="policy",
            hint="nothing was sampled from them; check that both sides run the same model code",
        )


def _tmpfs() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
