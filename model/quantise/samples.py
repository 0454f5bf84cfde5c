"""What a calibration reads: a JSONL file of samples, or text that the model writes itself.

One line is one sample: `{"token_ids": [...]}` as demonstrations have it, `{"text": "..."}`, or `{"messages": [...]}` in
the chat form, the latter two through the checkpoint's tokenizer. Other fields are left alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from model.cache import StateCache
from model.chat import render
from model.stack import HybridModel
from model.tokenizer import Tokenizer

_SLOTS = 32


def read_samples(file: Path, checkpoint: Path, limit: int | None = None, max_tokens: int = 4096) -> Iterator[list[int]]:
    """Token ids of each line, at most `limit` lines, each cut after `max_tokens`; read as they are asked for.

    Raises ValueError that names file and line where a line has none of the three fields or is not JSON, and
    FileNotFoundError when text meets a checkpoint without a tokenizer.
    """
    tokenizer: Tokenizer | None = None
    taken = 0
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            if taken == limit:
                return
            row = _row(file, number, line)
            if tokenizer is None and "token_ids" not in row:
                tokenizer = Tokenizer.load(checkpoint)
            yield _token_ids(row, tokenizer, f"{file.name}, line {number}")[:max_tokens]
            taken += 1
    if not taken:
        raise ValueError(f"{file} has no samples")


@torch.no_grad()
def own_samples(model: HybridModel, count: int, length: int, seed: int = 0) -> list[list[int]]:
    """`count` sequences of `length` tokens that the model draws at temperature 1 after the first token of its text."""
    draw = torch.Generator().manual_seed(seed)
    was_training = model.training
    model.eval()
    try:
        sizes = [min(_SLOTS, count - first) for first in range(0, count, _SLOTS)]
        return [sample for size in sizes for sample in _drawn(model, size, length, draw)]
    finally:
        model.train(was_training)


def _drawn(model: HybridModel, count: int, length: int, draw: torch.Generator) -> list[list[int]]:
    slots = list(range(count))
    cache = StateCache(model.config, count, length, model.device, model.dtype)
    tokens = torch.full((count,), model.config.bos_token_id, device=model.device)
    drawn = [tokens]
    logits = model.logits(model.prefill(tokens, torch.arange(count + 1), cache, slots))
    while len(drawn) < length:
        chosen = torch.multinomial(logits.softmax(-1).cpu(), 1, generator=draw)[:, 0].to(model.device)
        drawn.append(chosen)
        if len(drawn) < length:
            logits = model.decode(chosen, cache, slots)
    return [[int(token) for token in row] for row in torch.stack(drawn, 1).tolist()]


def _row(file: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{file.name}, line {number}: not valid JSON ({error})") from error
    if not isinstance(row, dict) or not {"token_ids", "text", "messages"} & set(row):
        raise ValueError(f"{file.name}, line {number}: a sample has token_ids, text or messages")
    return row


def _token_ids(row: dict[str, Any], tokenizer: Tokenizer | None, place: str) -> list[int]:
    if "token_ids" in row:
        ids = row["token_ids"]
        if not isinstance(ids, list) or not ids or not all(type(token) is int for token in ids):
            raise ValueError(f"{place}: token_ids must be a list of at least one whole number")
        return ids
    assert tokenizer is not None
    if "text" in row:
        if not isinstance(row["text"], str):
            raise ValueError(f"{place}: text must be a string")
        ids = tokenizer.encode(row["text"])
    else:
        try:
            chat = render(
                row["messages"], row.get("tools"), add_generation_prompt=False, template=tokenizer.chat_template
            )
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{place}: {error}") from error
        ids = tokenizer.encode_pieces(chat.pieces)
    if not ids:
        raise ValueError(f"{place}: the sample is empty")
    return ids
