"""One rollout for the viewer: its parts, its verdict, its traces, and the group it belongs to."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import msgspec

from gym_core.contracts import Rollout
from gym_core.errors import BadRequest, UnknownName
from gym_core.store import Store
from gym_core.store.fault import StoreFault
from gym_core.store.records import Stored
from palaestra.dashboard import selection
from palaestra.dashboard.conversation import Part, cut, parts_of
from palaestra.dashboard.heat import Pieces, TokenPage, load_tokenizer, prompt_text, token_page
from palaestra.dashboard.library import Library

MAX_TEXT = 200_000
"""Characters of one part that one request sends."""

_TURN = re.compile(r"<\|im_start\|>(\w*)\n?(.*?)(?:<\|im_end\|>\n?|\Z)", re.DOTALL)
_ROLES = {"system": "system", "user": "user", "assistant": "assistant", "tool": "tool"}


class Viewer:
    """Reads rollouts out of a library. `tokenizer` is a folder that is used where a run has none of its own."""

    def __init__(self, library: Library, tokenizer: Path | None = None) -> None:
        self._library = library
        self._fallback = tokenizer
        self._tokenizers: dict[Path, Pieces | None] = {}

    async def show(self, key: str, rollout_id: str) -> dict[str, Any]:
        """Everything but the tokens, long texts cut. Raises `UnknownName` where there is no such rollout."""
        async with self._library.reading(key) as store:
            rollout, blob, row = await self._get(store, key, rollout_id)
            parts, source = await self._parts(key, rollout, blob, row)
            group = await store.read(lambda c: selection.group(c, rollout.group_id))
            seq = await store.read(lambda c: selection.place_of(c, rollout_id))
        head = msgspec.to_builtins(rollout)
        for name in ("output", "verdict"):
            head.pop(name)
        return {
            "store": key,
            "seq": seq,
            "rollout": head,
            "reward": rollout.reward,
            "verdict": _verdict(rollout),
            "parts": cut(parts),
            "prompt_from": source,
            "group": group,
        }

    async def text(self, key: str, rollout_id: str, number: int, start: int) -> dict[str, Any]:
        """More of one part: up to `MAX_TEXT` characters from `start`."""
        async with self._library.reading(key) as store:
            rollout, blob, row = await self._get(store, key, rollout_id)
        parts, _ = await self._parts(key, rollout, blob, row)
        if not 0 <= number < len(parts):
            raise UnknownName(f"the rollout has {len(parts)} parts, none is number {number}", field="part")
        start = max(0, start)
        return {"text": parts[number].text[start : start + MAX_TEXT], "start": start, "length": parts[number].length}

    async def tokens(self, key: str, rollout_id: str, trace: int, start: int, count: int) -> TokenPage:
        """A page of a trace's tokens."""
        async with self._library.reading(key) as store:
            rollout, blob, _ = await self._get(store, key, rollout_id, whole=True)
        pieces = await self._tokenizer(key)
        try:
            return await asyncio.to_thread(token_page, rollout, blob, trace, start, count, pieces)
        except ValueError as error:
            raise BadRequest(f"the tokens of this rollout cannot be read: {error}", field="trace") from None

    async def raw(self, key: str, rollout_id: str) -> Rollout:
        async with self._library.reading(key) as store:
            return (await self._get(store, key, rollout_id)).rollout

    @staticmethod
    async def _get(store: Store, key: str, rollout_id: str, whole: bool = False) -> Stored:
        """`whole` insists on the tokens; otherwise a rollout whose tokens are damaged is shown without them."""
        try:
            found = await store.get_stored(rollout_id)
        except StoreFault:
            if whole:
                raise
            found = await store.get_stored(rollout_id, blobs=False)
        if found is None:
            raise UnknownName(
                f"there is no rollout {rollout_id!r} in the store {key!r}", field="id", hint="it may have been deleted"
            )
        return found

    async def _parts(
        self, key: str, rollout: Rollout, blob: bytes, row: dict[str, Any] | None
    ) -> tuple[list[Part], str]:
        """(parts, where the prompt is from: "row", "tokens", or "" where it is not known)."""
        if row is not None:
            return parts_of(rollout.output, row), "row"
        tokenizer = await self._tokenizer(key) if blob else None
        if tokenizer is None:
            return parts_of(rollout.output), ""
        try:
            said = await asyncio.to_thread(prompt_text, rollout, blob, tokenizer)
        except ValueError:  # broken bytes; the heat map says so
            return parts_of(rollout.output), ""
        return _prompt_parts(said) + parts_of(rollout.output), "tokens"

    async def _tokenizer(self, key: str) -> Pieces | None:
        folder = self._library.shelf(key).folder
        for place in (folder, self._fallback):
            if place is None:
                continue
            if place not in self._tokenizers:
                self._tokenizers[place] = await asyncio.to_thread(load_tokenizer, place)
            if (found := self._tokenizers[place]) is not None:
                return found
        return None


def _prompt_parts(text: str) -> list[Part]:
    """The turns of a prompt in the model's own template; one part where it is in none. The open turn is left out."""
    turns = [(role, said.strip("\n")) for role, said in _TURN.findall(text)] or [("", text)]
    if turns[-1][0] == "assistant":
        turns.pop()
    return [
        Part(
            kind=_ROLES.get(role, "other"),
            title="" if role in _ROLES else role,
            text=said,
            prompt=True,
            length=len(said),
        )
        for role, said in turns
        if said
    ]


def _verdict(rollout: Rollout) -> dict[str, Any] | None:
    if rollout.verdict is None:
        return None
    told: dict[str, Any] = msgspec.to_builtins(rollout.verdict)
    details = told.pop("details")
    told["details"] = msgspec.json.format(msgspec.json.encode(details), indent=2).decode()[:MAX_TEXT] if details else ""
    return told
