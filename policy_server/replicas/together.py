"""What is asked of all replicas alike: new weights, and whether they agree; and the same of one that comes later.

publish ─▶ kept open ─▶ every replica that is up ─▶ who fails alone is given up; to its end, whoever hangs up meanwhile
checksums, scores ─▶ every replica that is up ─▶ one answer, or Conflict
welcome: the kept weights ─▶ the checksums and scores that the others agreed on ─▶ it may serve
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from gym_core.client import Client
from gym_core.errors import BadRequest, Conflict, Unavailable
from policy_server.replicas.current import Kept
from policy_server.replicas.pool import Pool, Replica, nobody, unless_gone
from policy_server.weights import Taken, WeightsParams

Ask = Callable[[Client], Awaitable[Any]]


class Together:
    """Keeps the replicas of a pool alike. `publish_s`: who has not taken new weights by then is given up."""

    def __init__(self, publish_s: float) -> None:
        self.publish_s = publish_s
        self._kept: Kept | None = None
        self._agreed: dict[str, tuple[Ask, Any]] = {}
        self._publishing = asyncio.Lock()
        self._begun: asyncio.Task[Taken] | None = None

    async def publish(self, pool: Pool, params: WeightsParams) -> Taken:
        """Give new weights to every replica that is up; one that is too slow or fails alone is given up.

        Raises what they answer when none takes them: nothing has changed then. A publication that has
        begun goes on to its end, whoever is cancelled: else some replicas would serve the one version, some the other.
        """
        return await self._of_some(pool, lambda: self._publish(pool, params))

    async def _of_some(self, pool: Pool, work: Callable[[], Awaitable[Any]]) -> Any:
        """`work` with replicas that are up; where all of them turn out to be gone, once more with the next to come."""
        await pool.wait_for_one(self.publish_s)
        try:
            return await work()
        except Unavailable:
            await pool.wait_for_one(self.publish_s)
            return await work()

    async def _publish(self, pool: Pool, params: WeightsParams) -> Taken:
        await self._publishing.acquire()
        self._begun = asyncio.create_task(self._give_all(pool, params))
        self._begun.add_done_callback(lambda _: self._publishing.release())
        return await asyncio.shield(self._begun)

    async def _give_all(self, pool: Pool, params: WeightsParams) -> Taken:
        kept = Kept(params)
        up = [(replica, replica.process) for replica in pool.replicas if replica.up]
        try:
            given = (self._give(replica, kept) for replica, _ in up)
            results = await asyncio.gather(*given, return_exceptions=True)
        except asyncio.CancelledError:  # the server ends
            kept.close()
            raise
        taken = [result for result in results if isinstance(result, Taken)]
        for (replica, process), result in zip(up, results, strict=True):
            if isinstance(result, Unavailable) or (taken and isinstance(result, BaseException)):
                pool.evict(replica, f"it did not take version {kept.version}: {result}", process)
        if not taken:
            kept.close()
            refused = [each for each in results if isinstance(each, BaseException)]
            raise next((each for each in refused if not isinstance(each, Unavailable)), nobody())
        self._forget()
        self._kept = kept
        if any(other.checksums != taken[0].checksums for other in taken):
            raise Conflict("the replicas do not hold the same weights", stage="verify", server="policy")
        return taken[0]

    async def _give(self, replica: Replica, kept: Kept) -> Taken:
        taken: Taken = await unless_gone(replica, self._ask(replica.asked(), kept))
        replica.version = taken.version
        return taken

    async def _ask(self, client: Client, kept: Kept) -> Taken:
        try:
            return await client.post_json("/weights", kept.order(), Taken, timeout_s=self.publish_s)
        except BadRequest as error:
            if error.field != "memory" or (body := kept.body()) is None:
                raise
        reply = await client.post("/weights/body", body, timeout_s=self.publish_s)  # it is on another machine
        return reply.json(Taken)

    async def welcome(self, replica: Replica) -> None:
        """A fresh replica takes the current weights and shows that it has them before it serves.

        Raises what it answers, and `Conflict` where it does not agree with the others.
        """
        async with self._publishing:
            replica.version = 0
            if self._kept is None:
                return
            await self._give(replica, self._kept)
            for what, (ask, answer) in self._agreed.items():
                if await unless_gone(replica, ask(replica.asked())) != answer:
                    raise Conflict(f"the {what} of replica {replica.number} are not those of the others")

    async def agreed(self, pool: Pool, what: str, ask: Ask) -> Any:
        """What every replica answers; one that is gone meanwhile has no say.

        Raises `Conflict` naming one that answers something else.
        """
        return await self._of_some(pool, lambda: self._ask_all(pool, what, ask))

    async def _ask_all(self, pool: Pool, what: str, ask: Ask) -> Any:
        kept = self._kept
        up = [(replica, replica.process) for replica in pool.replicas if replica.up]
        asked = (unless_gone(replica, ask(replica.asked())) for replica, _ in up)
        found: list[tuple[Replica, Any]] = []
        for (replica, process), answer in zip(up, await asyncio.gather(*asked, return_exceptions=True), strict=True):
            if isinstance(answer, Unavailable):
                pool.evict(replica, f"it cannot be asked: {answer}", process)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                found.append((replica, answer))
        if not found:
            raise nobody()
        (first, agreed), *others = found
        for replica, answer in others:
            if answer != agreed:
                raise Conflict(f"the {what} of replica {replica.number} are not those of replica {first.number}")
        if kept is not None and kept is self._kept:
            self._agreed[what] = (ask, agreed)
        return agreed

    async def close(self) -> None:
        """End what is under way and let go of the current weights."""
        if self._begun is not None:
            self._begun.cancel()
            await asyncio.wait([self._begun])
        self._forget()

    def _forget(self) -> None:
        """The current weights, and what was agreed on them."""
        self._agreed.clear()
        if self._kept is not None:
            self._kept.close()
            self._kept = None
