"""What a placed object is to whoever calls it, wherever it lives: a handle."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from gym_core.errors import PalaestraError


class ActorDied(PalaestraError):
    """The process that held a placed object is gone, and its state with it."""

    code: ClassVar[str] = "actor_died"


class Handle(Protocol):
    """A placed object: call its methods, close it."""

    async def call(self, method: str, *args: Any, **kwargs: Any) -> Any: ...

    async def close(self) -> None: ...


class Placed(Handle, Protocol):
    """One that can be told to be gone."""

    name: str

    async def alive(self) -> bool: ...


class Apart(Placed, Protocol):
    """One in a process of its own, which may end at any moment without taking anything else along."""

    def kill(self) -> None:
        """End it now, whatever it does; where it has ended, nothing."""
        ...

    async def ended(self) -> None:
        """Return once its process is gone."""
        ...
