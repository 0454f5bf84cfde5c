"""A batch is dealt out whole, and what fills it up counts nowhere."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.shares import at_least, idle_batch, shares_of


@given(st.lists(st.integers(1, 50), max_size=20), st.integers(1, 5))
def test_shares_hold_every_sample_once_and_are_even(lengths: list[int], parts: int) -> None:
    shares = shares_of(lengths, parts)
    assert sorted(i for share in shares for i in share) == list(range(len(lengths)))
    loads = [sum(lengths[i] for i in share) for share in shares]
    assert max(loads) - min(loads) <= max(lengths, default=0)


def test_a_batch_that_is_too_short_is_filled_with_a_sequence_of_its_own() -> None:
    batch = idle_batch(3, torch.float64)
    assert at_least(batch, 3) is batch
    longer = at_least(batch, 5)
    assert longer.cu_seqlens.tolist() == [0, 3, 5] and len(longer.token_ids) == 5
    assert longer.num_sequences == batch.num_sequences == 0 and longer.indices == []
