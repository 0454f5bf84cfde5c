"""Scoring given tokens: with the full forward pass, and as sampling would, a token at a time from the kept states.

Audits and canaries hold the two against each other and against the trainer's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from gym_core.errors import BadRequest
from policy_server.engine import Engine

_MAX_PACKED_TOKENS = 16384
_MAX_DECODED_ROWS = 64


async def score(engine: Engine, sequences: list[list[int]]) -> tuple[list[np.ndarray], int]:
    """f32[t] log-probabilities of every sequence at temperature 1 (0.0 at its first position), and the policy version.

    All of them are of one version. Raises `BadRequest` naming the sequence that is empty, too long or off-vocabulary.
    """
    rows = [_tokens(ids, number, engine) for number, ids in enumerate(sequences)]
    return await engine.between_steps(lambda: ([*_score_all(engine.model, rows)], engine.version))


async def score_both(engine: Engine, sequences: list[list[int]]) -> tuple[list[np.ndarray], list[np.ndarray], int]:
    """As `score`, with the scores of decoding the same sequences in between."""
    rows = [_tokens(ids, number, engine) for number, ids in enumerate(sequences)]
    return await engine.between_steps(
        lambda: ([*_score_all(engine.model, rows)], _decode_all(engine, rows), engine.version)
    )


def _tokens(ids: list[int], number: int, engine: Engine) -> np.ndarray:
    row = np.asarray([min(max(token, -1), engine.vocab_size) for token in ids], dtype=np.int64)
    if not 0 < len(row) <= engine.max_length:
        raise BadRequest(
            f"a sequence must have 1 to {engine.max_length} tokens, not {len(row)}", field=f"token_ids[{number}]"
        )
    if row.min() < 0 or row.max() >= engine.vocab_size:
        raise BadRequest(f"a token id is outside the vocabulary of {engine.vocab_size}", field=f"token_ids[{number}]")
    return row


def _score_all(model: Any, rows: list[np.ndarray]) -> list[np.ndarray]:
    scores: list[np.ndarray] = []
    packed: list[np.ndarray] = []
    for row in rows:
        if packed and sum(map(len, packed)) + len(row) > _MAX_PACKED_TOKENS:
            scores += _score_packed(model, packed)
            packed = []
        packed.append(row)
    return scores + (_score_packed(model, packed) if packed else [])


def _decode_all(engine: Engine, rows: list[np.ndarray]) -> list[np.ndarray]:
    """Read a quarter of every sequence into a cache of its own, decode the rest: token by token, all rows at once.

    The longest come first, so that those that are still to be decoded are always consecutive slots.
    """
    scores = [np.zeros(len(row), np.float32) for row in rows]
    order = sorted(range(len(rows)), key=lambda number: -len(rows[number]))
    for first in range(0, len(order), _MAX_DECODED_ROWS):
        part = order[first : first + _MAX_DECODED_ROWS]
        _decode_some(engine, [rows[number] for number in part], [scores[number] for number in part])
    return scores


def _decode_some(engine: Engine, rows: list[np.ndarray], scores: list[np.ndarray]) -> None:
    """Fill `scores` for rows that are sorted by length, longest first."""
    model, slots = engine.model, list(range(len(rows)))
    cache, device = engine.make_cache(len(rows)), next(model.parameters()).device
    cache.reset(slots)
    head = max(1, min(map(len, rows)) // 4)
    tokens = torch.from_numpy(np.concatenate([row[:head] for row in rows])).to(device)
    edges = torch.arange(0, head * len(rows) + 1, head, device=device)
    hidden = model.prefill(tokens, edges, cache, slots, all_hidden=True)
    for at in range(head):
        _note(model.logits(hidden[at::head]), rows, scores, at)
    for at in range(head, max(map(len, rows)) - 1):
        active = [slot for slot in slots if len(rows[slot]) > at + 1]
        step = torch.tensor([int(rows[slot][at]) for slot in active], device=device)
        _note(model.decode(step, cache, active), rows, scores, at)


def _note(logits: torch.Tensor, rows: list[np.ndarray], scores: list[np.ndarray], at: int) -> None:
    """Write down what position `at` says of the token after it; logits [B, V] of the first B rows."""
    logprobs = logits.float().log_softmax(-1).cpu()
    for slot, row in enumerate(rows[: len(logits)]):
        if at + 1 < len(row):
            scores[slot][at + 1] = logprobs[slot, int(row[at + 1])]


def _score_packed(model: Any, rows: list[np.ndarray]) -> list[np.ndarray]:
    device = next(model.parameters()).device
    edges = np.cumsum([0, *map(len, rows)])
    tokens = torch.from_numpy(np.concatenate(rows)).to(device)
    hidden = model.forward(tokens, torch.from_numpy(edges).to(device))
    logprobs = model.token_logprobs(hidden[:-1], tokens[1:])[0].float().cpu().numpy()
    # entry i scores token i + 1; what crosses from one sequence into the next is replaced by the 0 of a first token
    whole = np.concatenate([np.zeros(1, np.float32), logprobs])
    whole[edges[:-1]] = 0.0
    return np.split(whole, edges[1:-1])
