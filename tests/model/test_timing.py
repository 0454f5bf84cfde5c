"""What is timed does the work it claims, the same work at every call."""

from __future__ import annotations

from collections.abc import Callable

import torch

from model.huge_pages import prefer_huge_pages
from model.stack import HybridModel
from model.timing import best_ms, decode_token, drawn, drawn_sequences, model_rows, read_prompt, train_step

Build = Callable[..., HybridModel]


def test_a_training_step_learns_its_own_batch(build: Build) -> None:
    model = build()
    run = train_step(model, [9, 3, 14])
    token_ids = torch.cat(drawn_sequences(model, [9, 3, 14]))
    with torch.no_grad():
        table = model.logits(model(token_ids, torch.tensor([0, 9, 12, 26]))).log_softmax(-1)
    rows = [row for row in range(25) if row not in (8, 11)]
    expected = -sum(float(table[row, token_ids[row + 1]]) for row in rows) / len(rows)
    losses = [run() for _ in range(5)]
    assert abs(losses[0] - expected) < 1e-5 and losses[-1] < losses[0]


def test_prompts_are_read_anew_at_every_call(build: Build) -> None:
    model = build()
    run = read_prompt(model, 3, 12)
    token_ids, bounds = drawn(model, 3, 12)
    with torch.no_grad():
        expected = model.logits(model(token_ids, bounds)[bounds[1:] - 1])
    for _ in range(2):
        torch.testing.assert_close(run(), expected, rtol=0, atol=1e-5)


def test_decoding_stays_at_its_context(build: Build) -> None:
    model = build()
    run = decode_token(model, 2, 10)
    token_ids, _ = drawn(model, 2, 10)
    longer = torch.cat([torch.cat((row, row[-1:])) for row in token_ids.view(2, 10)])
    with torch.no_grad():
        expected = model.logits(model(longer, torch.tensor([0, 11, 22]))[[10, 21]])
    torch.testing.assert_close(run(), expected, rtol=0, atol=1e-5)


def test_forms_take_turns_and_each_keeps_its_best() -> None:
    calls: list[str] = []
    best = best_ms({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 0.0)
    turns = [name for name, before in zip(calls[2:], calls[1:-1], strict=True) if name != before]
    assert turns == ["a", "b"] * 3 and all(took >= 0 for took in best.values())


def test_rows_of_a_model(build: Build) -> None:
    rows = model_rows(build(), 0.0, length=6, decode=(2,))
    assert [row["what"] for row in rows] == ["train step, 16 x 6", "prefill, 4 x 6", "decode, batch 2"]


def test_huge_pages_are_asked_for_large_cpu_tensors_only() -> None:
    large, small = torch.empty(8 << 20, dtype=torch.uint8), torch.empty(100)
    assert prefer_huge_pages([small, torch.empty(8 << 20, device="meta")]) == 0
    assert prefer_huge_pages([large, small]) in (0, 1)
    large.fill_(3)
    assert int(large[-1]) == 3
