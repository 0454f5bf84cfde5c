"""The running samples as arrays, one row per slot, so that a step costs a few vector operations and no Python loop."""

from __future__ import annotations

import numpy as np

from policy_server.sampling import stream, uniforms

_FIRST_WIDTH = 256
_WIDE = ("tokens", "logprobs", "versions", "origin")


class Slots:
    """Per-slot state. A row is meaningful between `start` and the release of its slot.

    tokens i32, logprobs f32, versions i32, origin u8 [num_slots, width >= count]; count i64 sampled so far;
    limit i64 tokens allowed; position i64 of the next token in the whole sequence.
    """

    def __init__(self, num_slots: int, stop_ids: frozenset[int], vocab_size: int) -> None:
        self.tokens = np.zeros((num_slots, _FIRST_WIDTH), np.int32)
        self.logprobs = np.zeros((num_slots, _FIRST_WIDTH), np.float32)
        self.versions = np.zeros((num_slots, _FIRST_WIDTH), np.int32)
        self.origin = np.zeros((num_slots, _FIRST_WIDTH), np.uint8)
        self.last = np.zeros(num_slots, np.int64)
        self.count = np.zeros(num_slots, np.int64)
        self.limit = np.zeros(num_slots, np.int64)
        self.position = np.zeros(num_slots, np.int64)
        self.streams = np.zeros(num_slots, np.uint64)
        self.temperature = np.ones(num_slots, np.float32)
        self.top_p = np.ones(num_slots, np.float32)
        self.heeds_stop = np.ones(num_slots, np.bool_)
        self.watched = np.zeros(num_slots, np.bool_)
        self.steered = np.zeros(num_slots, np.bool_)
        self.num_top = np.zeros(num_slots, np.int64)
        self.recorded = np.zeros(num_slots, np.bool_)
        self._is_stop = np.zeros(vocab_size, np.bool_)
        self._is_stop[[token for token in stop_ids if token < vocab_size]] = True

    def start(
        self,
        slot: int,
        *,
        num_prompt_tokens: int,
        limit: int,
        seed: int,
        temperature: float,
        top_p: float,
        heeds_stop: bool,
        watched: bool,
        steered: bool = False,
        num_top: int = 0,
        recorded: bool = False,
    ) -> None:
        """Begin a sample in this slot. `watched`, `steered`, `recorded` ones are looked at in Python at every step."""
        self.count[slot] = 0
        self.limit[slot] = limit
        self.position[slot] = num_prompt_tokens
        self.streams[slot] = stream(seed)
        self.temperature[slot] = temperature
        self.top_p[slot] = top_p
        self.heeds_stop[slot] = heeds_stop
        self.watched[slot] = watched
        self.steered[slot] = steered
        self.num_top[slot] = num_top
        self.recorded[slot] = recorded

    def noise(self, slots: np.ndarray) -> np.ndarray:
        """f64[B]: the uniform number of each slot's next draw."""
        return uniforms(self.streams[slots], self.position[slots])

    def append(
        self, slots: np.ndarray, tokens: np.ndarray, logprobs: np.ndarray, version: int, origin: np.ndarray | int = 0
    ) -> np.ndarray:
        """Write one token a slot (i64[B], f32[B], u8[B]); returns bool[B], True where the sample is over."""
        count = self.count[slots]
        if count.max(initial=0) >= self.tokens.shape[1]:
            self._widen()
        self.tokens[slots, count] = tokens
        self.logprobs[slots, count] = logprobs
        self.versions[slots, count] = version
        self.origin[slots, count] = origin
        self.last[slots] = tokens
        self.count[slots] = count = count + 1
        self.position[slots] += 1
        return (self._is_stop[tokens] & self.heeds_stop[slots]) | (count >= self.limit[slots])

    def ended_by_stop(self, slot: int) -> bool:
        """Whether the last token is one that stops this sample."""
        return bool(self.heeds_stop[slot] and self._is_stop[self.last[slot]])

    def take(self, slot: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
        """Copies of this slot's tokens, log-probabilities, versions and origins (None where all are sampled)."""
        count = self.count[slot]
        tokens, logprobs, versions, origin = (getattr(self, name)[slot, :count].copy() for name in _WIDE)
        return tokens, logprobs, versions, origin if origin.any() else None

    def save(self, slot: int) -> dict[str, np.ndarray]:
        """Copies of everything a slot holds, for `restore`."""
        return {name: rows[slot].copy() for name, rows in vars(self).items() if name != "_is_stop"}

    def restore(self, slot: int, saved: dict[str, np.ndarray]) -> None:
        """Go on in this slot with what another one held."""
        for name, row in saved.items():
            if name in _WIDE:  # the arrays may have been widened since
                getattr(self, name)[slot, : len(row)] = row
            else:
                getattr(self, name)[slot] = row

    def _widen(self) -> None:
        for name in _WIDE:
            old = getattr(self, name)
            wide = np.zeros((old.shape[0], 2 * old.shape[1]), old.dtype)
            wide[:, : old.shape[1]] = old
            setattr(self, name, wide)
