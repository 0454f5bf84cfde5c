"""A rollout as a trainer holds it: the record, its traces as arrays, and the group it belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import msgspec

from gym_core.contracts import Rollout
from gym_core.errors import RemoteError
from gym_core.tokens import TokenTrace, decode_trace


@dataclass
class Played:
    """One finished rollout. `blob` holds the tokens as they travelled; `traces` opens them when it is first asked."""

    rollout: Rollout
    blob: bytes = field(repr=False, default=b"")

    @property
    def reward(self) -> float | None:
        """None where there is no verdict: a failure is never a reward of zero."""
        return self.rollout.reward

    @property
    def trainable(self) -> bool:
        """Whether it may reach an advantage (`scored` and `truncated`)."""
        return self.rollout.outcome.trainable

    @property
    def text(self) -> str:
        """What the policy said last, "" where it said nothing."""
        said = [item for item in self.rollout.output if item.get("type") == "message"]
        parts = said[-1].get("content") or [] if said else []
        return parts if isinstance(parts, str) else "".join(part.get("text", "") for part in parts)

    @cached_property
    def traces(self) -> list[TokenTrace]:
        """Token ids, log-probabilities, mask and versions of each trace. Raises `RemoteError` on broken bytes."""
        view = memoryview(self.blob)
        try:
            return [decode_trace(view[info.offset : info.offset + info.num_bytes]) for info in self.rollout.traces]
        except ValueError as error:
            raise RemoteError(f"the tokens of rollout {self.rollout.rollout_id} are broken: {error}") from None


@dataclass
class PlayedGroup:
    """All members of one group, ordered by repeat, whatever their outcome."""

    group_id: str
    members: list[Played]

    def __iter__(self) -> Iterator[Played]:
        return iter(self.members)

    @property
    def rewards(self) -> list[float | None]:
        return [member.reward for member in self.members]


class Gathering:
    """Collects members until their group is whole."""

    def __init__(self) -> None:
        self._open: dict[str, list[Played]] = {}

    def add(self, played: Played) -> PlayedGroup | None:
        """The group that this member completes, None while others are missing."""
        rollout = played.rollout
        members = self._open.setdefault(rollout.group_id, [])
        members.append(played)
        if len(members) < rollout.group_size:
            return None
        del self._open[rollout.group_id]
        return PlayedGroup(rollout.group_id, sorted(members, key=lambda member: member.rollout.repeat))


def open_frame(head: bytes, blob: bytes | memoryview) -> Played:
    """Head and blob of one frame. Raises `RemoteError` for a head that is no rollout."""
    try:
        return Played(msgspec.json.decode(head, type=Rollout), bytes(blob))
    except msgspec.MsgspecError as error:
        raise RemoteError(f"a frame's head is no rollout: {error}") from None
