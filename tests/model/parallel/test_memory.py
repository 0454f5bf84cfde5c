"""Memory figures follow from the placements: what all processes hold adds up to the model."""

from __future__ import annotations

import pytest

from model.config import HybridConfig
from model.parallel.layout import Layout
from model.parallel.memory import memory, traffic

NANO_TOTAL = 31_577_937_344


def test_one_process_holds_the_model() -> None:
    found = memory(HybridConfig.nano(), Layout(), 8192)
    assert found.parameters == NANO_TOTAL
    assert found.weights + found.gradients + found.optimiser == 16 * NANO_TOTAL
    assert found.layer_inputs == 52 * 2688 * 2 * 8192


@pytest.mark.parametrize("layout", [Layout(dp=8, ep=8), Layout(dp=32, ep=8), Layout(dp=8, ep=8, cp=4)], ids=str)
def test_shards_add_up_to_the_model(layout: Layout) -> None:
    held = memory(HybridConfig.nano(), layout, 8192).parameters
    assert NANO_TOTAL <= held * layout.world <= NANO_TOTAL * 1.0001


def test_tensor_parallel_copies_are_the_norms_gates_and_shared_heads() -> None:
    """tp 8 holds 8 copies of norms and gates and 4 of each key/value head; all else once."""
    held = memory(HybridConfig.nano(), Layout(tp=8), 8192).parameters
    copied = 7 * (53 * 2688 + 23 * 128 * 2688) + 3 * 6 * 2 * 2 * 128 * 2688
    assert held * 8 == NANO_TOTAL + copied


def test_context_parallelism_shares_the_tokens() -> None:
    whole, cut = (memory(HybridConfig.nano(), Layout(dp=8 // cp, ep=8, cp=cp), 49152) for cp in (1, 4))
    assert cut.layer_inputs * 4 == whole.layer_inputs
    assert cut.weights == whole.weights


def test_state_passing_sends_one_state_and_three_rows_whatever_the_length() -> None:
    sent = traffic(HybridConfig.nano(), Layout(cp=4, dp=2, ep=8))
    assert sent["state"] == 2 * 2**20 + 3 * 6144 * 2
    assert sent["kv"] == 1024
    assert sent["rows"] == 2 * 6 * 2688 * 2 * 7 // 8
    assert traffic(HybridConfig.nano(), Layout()) == {"state": 0, "kv": 0, "rows": 0}
