"""The objects of a run as Ray actors, on one machine or a cluster, in places that are reserved together."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from gym_core.errors import DeadlineExceeded, PalaestraError
from trainer.handles import ActorDied, Handle, Placed
from trainer.ranks import RankHost, RanksHandle

ALIVE_WITHIN_S = 10.0
ROOM_WITHIN_S = 120.0
APART_WITHIN_S = 600.0
"""A policy server reads its checkpoint before it is ready."""
LOOK_EVERY_S = 0.5
LOCAL_CPUS = 2
LOCAL_STORE_BYTES = 96 << 20
"""A local Ray holds a learner and a policy engine; what they send each other is small."""


class NoRoom(PalaestraError):
    """The cluster cannot hold what is to be placed."""

    code: ClassVar[str] = "no_room"


class _Actor:
    """What runs inside a Ray actor: the object, made there."""

    def __init__(self, factory: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._object = factory(*args, **kwargs)

    def call(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return getattr(self._object, method)(*args, **kwargs)

    def ready(self) -> bool:
        return True


class RayHandle:
    """An actor. Never restarted by itself: its state would be lost in silence; the run resumes from a checkpoint."""

    def __init__(self, actor: Any, name: str, timeout_s: float) -> None:
        self._actor, self.name, self._timeout_s = actor, name, timeout_s

    async def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return await self._wait(self._actor.call.remote(method, args, kwargs), method)

    async def ready(self) -> RayHandle:
        await self._wait(self._actor.ready.remote(), "ready")
        return self

    async def _wait(self, reference: Any, what: str) -> Any:
        import ray

        try:
            return await asyncio.wait_for(_as_future(reference), self._timeout_s)
        except ray.exceptions.RayTaskError as error:
            raise _raised(error) from error
        except ray.exceptions.RayActorError as error:
            if error.args and isinstance(failed := error.args[0], ray.exceptions.RayTaskError):
                raise _raised(failed) from error  # what its factory raised, as everywhere else
            raise ActorDied(
                f"the actor {self.name} died during `{what}`: {str(error).splitlines()[0]}",
                stage=what,
                server="ray",
                hint="resume the run from its last checkpoint",
            ) from None
        except TimeoutError:
            raise DeadlineExceeded(
                f"`{what}` of the actor {self.name} took over {self._timeout_s} s", stage=what, server="ray"
            ) from None

    async def alive(self) -> bool:
        """Whether its process is there. One that is busy is: only the death of an actor is an answer."""
        import ray

        try:
            await asyncio.wait_for(_as_future(self._actor.ready.remote()), ALIVE_WITHIN_S)
        except ray.exceptions.RayActorError:
            return False
        except TimeoutError:
            return True
        return True

    async def ended(self) -> None:
        """Return once its process is gone. Ray tells of a death only who asks."""
        while await self.alive():
            await asyncio.sleep(LOOK_EVERY_S)

    def kill(self) -> None:
        """End it now, whatever it does."""
        import ray

        ray.kill(self._actor, no_restart=True)

    async def close(self) -> None:
        self.kill()


def _raised(error: Any) -> Exception:
    """What a task raised there, where that could be sent here; else Ray's account of it."""
    return error.cause if isinstance(error.cause, Exception) else error


async def _as_future(reference: Any) -> Any:
    return await reference


class RayPlacement:
    """Ray actors, on one machine or a cluster. `address` None starts a small local Ray; `options` go to every actor.

    `bundles` are what the places need, such as `[{"CPU": 1}, {"CPU": 1}]`: they are reserved together, by `strategy`
    (PACK near each other, SPREAD apart, STRICT_…), and actors take them in order; a local Ray has room for them all,
    whatever the machine has. Without bundles each actor finds a place of its own. Raises NoRoom where the cluster
    cannot hold the bundles.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        bundles: Sequence[Mapping[str, float]] = (),
        strategy: str = "PACK",
        call_timeout_s: float = 3600.0,
        room_within_s: float = ROOM_WITHIN_S,
        apart_within_s: float = APART_WITHIN_S,
        **options: Any,
    ) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        self._call_timeout_s, self._room_within_s, self._apart_within_s = call_timeout_s, room_within_s, apart_within_s
        self._options = {"num_cpus": 1, "max_restarts": 0, **options}
        self._handles: list[Placed] = []
        self._apart: dict[str, RayHandle] = {}
        self._numbers: dict[str, int] = {}
        self._num_actors = 0
        self._reserving = asyncio.Lock()
        self._bundles, self._strategy = [dict(bundle) for bundle in bundles], strategy
        self._group: Any = None
        self._started = not ray.is_initialized()
        if self._started:
            small: dict[str, Any] = (
                {}
                if address
                else {"num_cpus": max(len(self._bundles), LOCAL_CPUS), "object_store_memory": LOCAL_STORE_BYTES}
            )
            # "local": without an address it would join whatever cluster this machine has begun last.
            ray.init(
                address=address or "local",
                include_dashboard=False,
                log_to_driver=False,
                configure_logging=False,
                **small,
            )

    async def place(self, factory: Callable[..., Any], *args: Any, **kwargs: Any) -> Handle:
        handle = await self._actor(getattr(factory, "__name__", "object"), factory, args, kwargs)
        self._handles.append(handle)
        return await handle.ready()

    async def place_ranks(self, world: int, factory: Callable[..., Any], *args: Any) -> Handle:
        """An object of `world` actors, each in the next bundle; they meet on the machine of the first."""
        name = getattr(factory, "__name__", "object")
        handles = [await self._actor(f"{name}-{rank}", RankHost, (rank, world), {}) for rank in range(world)]
        ranks = RanksHandle(name, handles)
        self._handles.append(ranks)
        await asyncio.gather(*(handle.ready() for handle in handles))
        return await ranks.join("", factory, args)

    async def place_apart(self, name: str, factory: Callable[..., Any], *args: Any) -> RayHandle:
        """An actor in the next bundle, or in that of the one that had this name.

        Raises NoRoom where it is not ready in time: its node may be lost and no other has room.
        """
        if name not in self._numbers:
            self._numbers[name] = self._next()
        handle = self._apart[name] = await self._actor(name, factory, args, {}, self._numbers[name])
        try:
            async with asyncio.timeout(self._apart_within_s):
                return await handle.ready()
        except TimeoutError:
            handle.kill()
            raise NoRoom(
                f"the actor {name} was not ready within {self._apart_within_s:.0f} s",
                stage="place",
                server="ray",
                hint="`ray status` shows what is free; add a node, or ask for fewer replicas",
            ) from None
        except BaseException:
            handle.kill()
            raise

    def _next(self) -> int:
        self._num_actors += 1
        return self._num_actors - 1

    async def _actor(
        self,
        name: str,
        factory: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        number: int | None = None,
    ) -> RayHandle:
        import ray

        place = await self._place_in_group(self._next() if number is None else number)
        actor = ray.remote(_Actor).options(**{**self._options, **place}).remote(factory, args, kwargs)
        return RayHandle(actor, name, self._call_timeout_s)

    async def _place_in_group(self, number: int) -> dict[str, Any]:
        """Options that put an actor into the bundle of its number; those beyond the last are small, and spread out."""
        if not self._bundles:
            return {}
        if number >= len(self._bundles):
            return {"num_cpus": 0, "scheduling_strategy": "SPREAD"}
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        async with self._reserving:
            if self._group is None:
                await self._reserve()
        return {
            "num_cpus": self._bundles[number].get("CPU", 0),
            "num_gpus": self._bundles[number].get("GPU", 0),
            "scheduling_strategy": PlacementGroupSchedulingStrategy(
                placement_group=self._group, placement_group_bundle_index=number
            ),
        }

    async def _reserve(self) -> None:
        from ray.util.placement_group import placement_group

        self._group = placement_group(self._bundles, strategy=self._strategy)
        try:
            await asyncio.wait_for(_as_future(self._group.ready()), self._room_within_s)
        except TimeoutError:
            await self._give_back()
            raise NoRoom(
                f"the cluster had no room for {self._bundles} ({self._strategy}) within {self._room_within_s:.0f} s",
                stage="place",
                server="ray",
                hint="`ray status` shows what is free; add a node, or ask for fewer bundles",
            ) from None

    async def machines(self) -> int:
        """By host name, of the nodes that are there now; containers of one machine count apart, as they have to."""
        import ray

        nodes = await asyncio.to_thread(ray.nodes)
        return len({str(node["NodeManagerHostname"]) for node in nodes if node["Alive"]})

    async def lost(self) -> list[str]:
        handles = [*self._handles, *self._apart.values()]
        alive = await asyncio.gather(*(handle.alive() for handle in handles))
        return [handle.name for handle, is_alive in zip(handles, alive, strict=True) if not is_alive]

    async def renew(self) -> None:
        for handle in (*self._handles, *self._apart.values()):
            await handle.close()
        self._handles.clear()
        self._apart.clear()
        self._numbers.clear()
        self._num_actors = 0
        await self._give_back()

    async def _give_back(self) -> None:
        if self._group is None:
            return
        from ray.util.placement_group import remove_placement_group

        await asyncio.to_thread(remove_placement_group, self._group)
        self._group = None

    async def close(self) -> None:
        import ray

        await self.renew()
        if self._started:
            ray.shutdown()
