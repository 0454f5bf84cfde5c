"""The tokens of one trace, a page at a time: pieces of text, log-probabilities, who wrote them and which policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import msgspec

from gym_core.contracts import Rollout
from gym_core.errors import UnknownName
from gym_core.tokens import NO_VERSION, TokenTrace, decode_trace

MAX_TOKENS = 4096
"""Tokens of one page."""

RARE = 12
"""How many of the least likely tokens are named."""


class Pieces(Protocol):
    """What of a tokenizer is needed here."""

    def token_bytes(self, token: int, skip_special: bool = False) -> bytes: ...


class TokenPage(msgspec.Struct, kw_only=True):
    """Parallel lists over tokens [start, start + len); logprob None and version None where nobody sampled the token.

    `first` is the place of the first sampled token; it, `mean_logprob` and `rarest` are over the whole trace. Without a
    tokenizer `pieces` is None.
    """

    trace: int
    start: int
    total: int
    sampled: int
    ids: list[int]
    pieces: list[str] | None
    logprobs: list[float | None]
    kinds: list[str]
    versions: list[int | None]
    first: int | None
    mean_logprob: float | None
    rarest: list[dict[str, Any]]


def load_tokenizer(folder: Path) -> Pieces | None:
    """The tokenizer of a run's folder; None where there is none, or nothing that could read it."""
    home = next((place for place in (folder / "tokenizer", folder) if (place / "tokenizer.json").is_file()), None)
    if home is None:
        return None
    try:
        from model.tokenizer import Tokenizer
    except ImportError:  # the light core has no `tokenizers`
        return None
    try:
        return Tokenizer.load(home)
    except ValueError:  # another program's tokenizer.json
        return None


def token_page(
    rollout: Rollout, blob: bytes, number: int, start: int, count: int, tokenizer: Pieces | None
) -> TokenPage:
    """Tokens of trace `number`. Raises `UnknownName` where there is no such trace; ValueError on broken bytes."""
    if not 0 <= number < len(rollout.traces):
        raise UnknownName(f"the rollout has {len(rollout.traces)} traces, none is number {number}", field="trace")
    info = rollout.traces[number]
    trace = decode_trace(blob[info.offset : info.offset + info.num_bytes])
    start = max(0, min(start, len(trace)))
    end = min(len(trace), start + max(1, min(count, MAX_TOKENS)))
    ids = trace.token_ids[start:end].tolist()
    mask = trace.loss_mask[start:end].tolist()
    versions = trace.versions[start:end].tolist()
    sampled = trace.loss_mask
    return TokenPage(
        trace=number,
        start=start,
        total=len(trace),
        sampled=int(sampled.sum()),
        ids=ids,
        pieces=None if tokenizer is None else [_piece(tokenizer, token) for token in ids],
        logprobs=[
            round(value, 4) if own else None
            for value, own in zip(trace.logprobs[start:end].tolist(), mask, strict=True)
        ],
        kinds=_kinds(trace, start, end),
        versions=[None if version == NO_VERSION else version for version in versions],
        first=int(sampled.argmax()) if sampled.any() else None,
        mean_logprob=float(trace.logprobs[sampled].mean()) if sampled.any() else None,
        rarest=_rarest(trace, tokenizer),
    )


def prompt_text(rollout: Rollout, blob: bytes, tokenizer: Pieces, limit: int = 200_000) -> str:
    """What the policy was given before its first own token, as its tokens say it."""
    if not rollout.traces:
        return ""
    info = rollout.traces[0]
    trace = decode_trace(blob[info.offset : info.offset + info.num_bytes])
    begun = int(trace.loss_mask.argmax()) if trace.loss_mask.any() else len(trace)
    data = b"".join(_bytes(tokenizer, token) for token in trace.token_ids[: min(begun, limit)].tolist())
    return data.decode("utf-8", "replace")


def _kinds(trace: TokenTrace, start: int, end: int) -> list[str]:
    kinds = [""] * (end - start)
    for kind, a, b in trace.spans:
        low, high = max(a, start) - start, min(b, end) - start
        if high > low:
            kinds[low:high] = [kind] * (high - low)
    return kinds


def _rarest(trace: TokenTrace, tokenizer: Pieces | None) -> list[dict[str, Any]]:
    places = trace.loss_mask.nonzero()[0]
    order = places[trace.logprobs[places].argsort(kind="stable")][:RARE].tolist()
    return [
        {
            "at": at,
            "id": int(trace.token_ids[at]),
            "piece": None if tokenizer is None else _piece(tokenizer, int(trace.token_ids[at])),
            "logprob": round(float(trace.logprobs[at]), 4),
        }
        for at in order
    ]


def _bytes(tokenizer: Pieces, token: int) -> bytes:
    try:
        return tokenizer.token_bytes(token)
    except (ValueError, KeyError, IndexError, OverflowError):  # an id this tokenizer does not know
        return f"⟨{token}⟩".encode()


def _piece(tokenizer: Pieces, token: int) -> str:
    """A token's text; bytes that are no text by themselves are written out."""
    return _bytes(tokenizer, token).decode("utf-8", "backslashreplace")
