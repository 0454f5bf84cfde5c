"""Scoring given tokens with the full forward pass: what audits and canaries hold sampling against."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from gym_core.errors import BadRequest
from policy_server.engine import Engine

_MAX_PACKED_TOKENS = 16384


async def score(engine: Engine, sequences: list[list[int]]) -> tuple[list[np.ndarray], int]:
    """f32[t] log-probabilities of every sequence at temperature 1 (0.0 at its first position), and the policy version.

    All of them are of one version. Raises `BadRequest` naming the sequence that is empty, too long or off-vocabulary.
    """
    rows = [_tokens(ids, number, engine) for number, ids in enumerate(sequences)]
    return await engine.between_steps(lambda: ([*_score_all(engine.model, rows)], engine.version))


def _tokens(ids: list[int], number: int, engine: Engine) -> np.ndarray:
    row = np.asarray(ids, dtype=np.int64)
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
